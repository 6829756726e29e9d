/**
 * The numbers of FastCGI 1.0.
 *
 * @module
 */

export const VERSION = 1;
export const RECORD_HEADER_LENGTH = 8;
/** The most that one record can hold. */
export const MAX_CONTENT = 0xffff;
/** The most that we put in a record: a multiple of 8 needs no padding, and PHP counts content and padding as one. */
export const MAX_SENT_CONTENT = 0xfff8;
/** The most in a record when several requests share the connection, so that they take turns. */
export const SHARED_CONTENT = 0x4000;
/** Web servers log each STDERR record as one line and cut it at about this length. */
export const MAX_STDERR_CONTENT = 8000;

/** Record types. */
export const BEGIN_REQUEST = 1;
export const ABORT_REQUEST = 2;
export const END_REQUEST = 3;
export const PARAMS = 4;
export const STDIN = 5;
export const STDOUT = 6;
export const STDERR = 7;
export const DATA = 8;
export const GET_VALUES = 9;
export const GET_VALUES_RESULT = 10;
export const UNKNOWN_TYPE = 11;

/** Id of management records. */
export const MANAGEMENT_ID = 0;
export const MAX_REQUEST_ID = 0xffff;

export const ROLE_RESPONDER = 1;
export const ROLE_AUTHORIZER = 2;
export const ROLE_FILTER = 3;

export const FLAG_KEEP_CONN = 1;

/** Values of protocolStatus. */
export const REQUEST_COMPLETE = 0;
export const CANT_MPX_CONN = 1;
export const OVERLOADED = 2;
export const UNKNOWN_ROLE = 3;

/** The names that GET_VALUES may ask for. */
export const MAX_CONNS_NAME = "FCGI_MAX_CONNS";
export const MAX_REQS_NAME = "FCGI_MAX_REQS";
export const MPXS_CONNS_NAME = "FCGI_MPXS_CONNS";

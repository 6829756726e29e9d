import type { RequestHead, RequestMeta } from "../http/request_head.ts";
import type { Addr, FilterData, HandlerInfo, NetAddr, ProtocolName, Role, TlsInfo } from "../types.ts";

/** What knows whether a response has been handed over. */
export interface Completion {
  whenCompleted(): Promise<void>;
}

/** The `info` of one request: nothing in it is worked out before somebody looks at it. */
export class RequestInfo implements HandlerInfo {
  readonly protocol: ProtocolName;
  readonly role: Role;
  readonly data: FilterData | undefined;
  readonly peerAddr: Addr | undefined;
  readonly #meta: RequestMeta;
  readonly #completion: Completion;

  constructor(
    protocol: ProtocolName,
    peerAddr: Addr | undefined,
    head: RequestHead,
    data: FilterData | undefined,
    completion: Completion,
  ) {
    this.protocol = protocol;
    this.peerAddr = peerAddr;
    this.role = head.role;
    this.data = data;
    this.#meta = head.meta;
    this.#completion = completion;
  }

  get remoteAddr(): NetAddr {
    return this.#meta.remoteAddr;
  }

  get remoteUser(): string | undefined {
    return this.#meta.remoteUser;
  }

  get authType(): string | undefined {
    return this.#meta.authType;
  }

  get ssl(): TlsInfo | undefined {
    return this.#meta.ssl;
  }

  get params(): ReadonlyMap<string, string> {
    return this.#meta.params;
  }

  get completed(): Promise<void> {
    return this.#completion.whenCompleted();
  }
}

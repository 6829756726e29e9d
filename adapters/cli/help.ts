import { VERSION } from "./version.ts";

/** `isthmus --help` */
export const HELP = `isthmus ${VERSION} - serve a fetch handler to a web server over AJP13, FastCGI and SCGI

Usage:
  isthmus serve MODULE [options]   Serve the handler that MODULE exports
  isthmus serve --help             All options, address forms and examples
  isthmus inspect [options]        Serve a page that shows each request as a handler sees it
  isthmus --help                   This help
  isthmus --version                The version

Example, with the line for Apache httpd:
  isthmus serve ./app.ts --ajp 8009
    ProxyPass "/" "ajp://127.0.0.1:8009/"
`;

/** `isthmus serve --help` */
export const SERVE_HELP = `Usage: isthmus serve MODULE [options]

MODULE is a file, relative to the current directory, or the name of a package. Its default export is a handler
(request, info) => Response, or an object with such a fetch method, for example a Hono app.

Options:
  --ajp ADDR        Listen for AJP13. May be given several times.
  --fastcgi ADDR    Listen for FastCGI. May be given several times.
  --scgi ADDR       Listen for SCGI. May be given several times.
  --any ADDR        Listen for AJP13, FastCGI and SCGI, whichever arrives. May be given several times.
  --secret S        AJP: secret that every request must carry, needed by --ajp beyond loopback. Default: the
                    environment variable ISTHMUS_SECRET, which the process list does not show; else none.
  --packet-size N   AJP: largest packet in bytes, 8192 to 65536, the same as the web server's ProxyIOBufferSize or
                    max_packet_size. Default: 8192.
  --mount PATH      Path prefix that is taken off the URLs that the handler sees. Default: none.
  --mode MODE       Permissions of unix sockets, in octal. Default: what the umask leaves.
  -h, --help        This help.

ADDR is one of:
  8009                a port on 127.0.0.1; 0 lets the system choose one
  127.0.0.1:8009      an IPv4 address or a host name, and a port
  [::1]:8009          an IPv6 address and a port
  unix:/run/app.sock  a unix socket
  fd:3                an inherited descriptor that listens

Examples, each with the line for Apache httpd:
  ISTHMUS_SECRET=change-me isthmus serve ./app.ts --ajp 8009
    ProxyPass "/" "ajp://127.0.0.1:8009/" secret=change-me
  isthmus serve ./app.ts --fastcgi 9000
    ProxyPass "/" "fcgi://127.0.0.1:9000/" enablereuse=on
  isthmus serve ./app.ts --fastcgi unix:/run/app.sock --mode 660
    ProxyPass "/" "unix:/run/app.sock|fcgi://localhost/" enablereuse=on
  isthmus serve ./app.ts --scgi 4000
    ProxyPass "/" "scgi://127.0.0.1:4000/"
    nginx: location / { include scgi_params; scgi_pass 127.0.0.1:4000; }
  isthmus serve ./app.ts --any 9000
    ProxyPass "/" "scgi://127.0.0.1:9000/", or with fcgi: or ajp:
  isthmus serve ./app.ts --mount /shop --ajp 8009
    ProxyPass "/shop" "ajp://127.0.0.1:8009/shop"
  spawn-fcgi -s /run/app.sock -- isthmus serve /srv/app.ts
    ProxyPass "/" "unix:/run/app.sock|fcgi://localhost/"

Without an address, it serves whoever has started it: sockets that systemd passes on; plain CGI, if the environment has a
request; or FastCGI, if descriptor 0 is a listening socket, as mod_fcgid, lighttpd and spawn-fcgi have it. With either
of the last two it prints nothing, and SIGUSR1 does what SIGTERM does.

One line is printed for each address once all of them listen. SIGTERM and SIGINT finish the requests that run and end
with status 0; a second signal ends at once. Status 1: it could not run. Status 2: the command line is wrong.
`;

/** `isthmus inspect --help` */
export const INSPECT_HELP = `Usage: isthmus inspect [options]

Serves a page that shows each request as a handler sees it: method, URL, headers, the fields of info, and every variable
that the web server has sent; the same as JSON for who asks for application/json. Passwords, the values of cookies and of
Authorization, session ids, tokens and the like are hidden.

It listens on loopback or a unix socket only. Without an address: --ajp 8009 --fastcgi 9000.

Options:
  --ajp ADDR        Listen for AJP13. May be given several times, as those below.
  --fastcgi ADDR    Listen for FastCGI.
  --scgi ADDR       Listen for SCGI.
  --any ADDR        Listen for AJP13, FastCGI and SCGI, whichever arrives.
  --secret S, --packet-size N, --mount PATH, --mode MODE
                    As with isthmus serve, whose help tells the forms of ADDR too; but fd: is not possible.
  -h, --help        This help.

Example, with the line for Apache httpd:
  isthmus inspect --ajp 8010
    ProxyPass "/inspect" "ajp://127.0.0.1:8010/"
`;

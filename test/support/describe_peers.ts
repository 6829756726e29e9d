import { describe } from "vitest";
import { apacheAvailable } from "./apache.ts";
import { caddyAvailable } from "./caddy.ts";
import { haproxyAvailable } from "./haproxy.ts";
import { lighttpdAvailable } from "./lighttpd.ts";
import { nginxAvailable } from "./nginx.ts";

/** `describe` where Apache is installed; elsewhere the tests are skipped, and it says so. */
export const describePeers = describeWhere("Apache httpd", apacheAvailable);
/** The same for the other web servers. */
export const describeNginx = describeWhere("nginx", nginxAvailable);
export const describeLighttpd = describeWhere("lighttpd", lighttpdAvailable);
export const describeHaproxy = describeWhere("HAProxy", haproxyAvailable);
export const describeCaddy = describeWhere("Caddy", caddyAvailable);

function describeWhere(title: string, available: () => boolean): (name: string, body: () => void) => void {
  return (name, body) => {
    if (!available()) console.warn(`SKIPPED, no ${title} here: ${name}`);
    describe.skipIf(!available())(name, body);
  };
}

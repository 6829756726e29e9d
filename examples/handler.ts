// A handler without a framework: isthmus serve examples/handler.ts --ajp 8009
import type { HandlerInfo } from "isthmus";

export default function handler(request: Request, info: HandlerInfo): Response {
  const { pathname } = new URL(request.url);
  if (pathname !== "/") return new Response("Not found\n", { status: 404 });
  return new Response(`Hello ${info.remoteUser ?? info.remoteAddr.hostname}, by way of ${info.protocol}.\n`);
}

// The page of isthmus inspect: HTML without a script, in which everything that came with the request is escaped.
import { createHash } from "node:crypto";
import type { Inspection } from "./inspect.ts";
import { VERSION } from "./version.ts";

const STYLE = `
  :root { color-scheme: light dark; }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
  h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { border-top: 1px solid #8884; padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; }
  th { font-weight: 600; width: 16rem; }
  th, td { font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere; white-space: pre-wrap; }
  footer { margin-top: 2rem; opacity: .7; font-size: .9rem; }
`;

/** Nothing but this page's own style; no script, no image, no frame, no form. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The whole page. */
export function inspectPage({ method, url, body, headers, info, params }: Inspection): string {
  const came = `${body.bytes} ${body.bytes === 1 ? "byte" : "bytes"}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>isthmus inspect</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeHtml(method)} ${escapeHtml(url)}</h1>
<p>The request as a handler sees it. Passwords, cookies, session ids and the like are hidden.</p>
<p>Body: ${escapeHtml(body.error === undefined ? came : `${came}, then: ${body.error}`)}</p>
${table("Headers", headers)}
${table("info", info)}
${table("info.params", params)}
<footer>isthmus ${escapeHtml(VERSION)}. The same as JSON: ask with <code>Accept: application/json</code>.</footer>
</body>
</html>
`;
}

function table(title: string, fields: Record<string, string>): string {
  const rows = Object.entries(fields)
    .map(([name, value]) => `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`);
  const content = rows.length === 0 ? "<p>None.</p>" : `<table>\n${rows.join("\n")}\n</table>`;
  return `<h2>${escapeHtml(title)}</h2>\n${content}`;
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text that is text wherever it stands: in an element or in a quoted attribute. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}

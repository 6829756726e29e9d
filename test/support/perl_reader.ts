// A client that tells FIN from a reset for certain: Node takes some resets for a clean end.
import { spawn } from "node:child_process";
import type { Addr } from "../../src/types.ts";

const SCRIPT = `
  if ($ARGV[0] eq "tcp") {
    socket(S, PF_INET, SOCK_STREAM, 0) or die;
    connect(S, pack_sockaddr_in($ARGV[1], inet_aton("127.0.0.1"))) or die;
  } else {
    socket(S, PF_UNIX, SOCK_STREAM, 0) or die;
    connect(S, pack_sockaddr_un($ARGV[1])) or die;
  }
  binmode(STDIN);
  local $/;
  my $request = <STDIN>;
  syswrite(S, $request);
  my $received = "";
  while ($n = sysread(S, $_, 65536)) { $received .= $_ }
  print defined $n ? "end" : $!{ECONNRESET} ? "reset" : $!, "\\n", $received`;

/** Sends `request` and reads until the connection ends: how it did, and what came before. */
export async function readByPerl(
  addr: Addr,
  request: Uint8Array,
): Promise<{ ended: "end" | "reset" | string; received: string }> {
  const where = addr.transport === "tcp" ? ["tcp", String(addr.port)] : ["unix", addr.path];
  const child = spawn("perl", ["-MSocket", "-MErrno", "-e", SCRIPT, ...where], { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout!.setEncoding("latin1").on("data", (text) => output += text);
  child.stdin!.end(request);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("close", resolve);
    child.once("error", reject);
  });
  if (code !== 0) throw new Error(`perl ended with ${code}`);
  const line = output.indexOf("\n");
  return { ended: output.slice(0, line), received: output.slice(line + 1) };
}

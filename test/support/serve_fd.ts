// A program: echoes on the listening descriptor whose number is its argument. Prints the address once it listens.
import process from "node:process";
import { adapter } from "./runtime.ts";

const { listen } = await adapter();
const listener = await listen(
  { fd: Number(process.argv[2]), hostname: "127.0.0.1", port: 0 },
  async (transport) => {
    for (let bytes = await transport.read(); bytes !== null; bytes = await transport.read()) {
      await transport.write([bytes]);
    }
    await transport.closeWrite();
    transport.close();
  },
  (error) => console.error(error),
);
console.log(JSON.stringify(listener.addr));

// Request bodies through real sockets: how they are read, and what is asked of the web server for it.
import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import type { Handler } from "../../src/types.ts";
import { dataPacket } from "../support/ajp_client.ts";
import { serve } from "../support/ajp_fixture.ts";
import { hex } from "../support/hex.ts";
import { runtime } from "../support/runtime.ts";
import { concat, delay, pattern, pending, sha } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

const LENGTHS = ["known", "chunked", "unknown"] as const;

function lengthOf(how: typeof LENGTHS[number], bytes: number): number | "chunked" | "unknown" {
  return how === "known" ? bytes : how;
}

async function readByHand(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (const reader = request.body!.getReader();;) {
    const { done, value } = await reader.read();
    if (done) return concat(chunks);
    chunks.push(value);
  }
}

const digest: Handler = async (request) => {
  const bytes = new Uint8Array(await request.arrayBuffer());
  return new Response(`${bytes.length} ${sha(bytes)}`);
};

describe("request body", () => {
  for (const how of LENGTHS) {
    const json = JSON.stringify({ greeting: "grüß dich", list: [1, 2, 3] });
    const pieces = [json.slice(0, 7), json.slice(7)];
    const length = lengthOf(how, new TextEncoder().encode(json).length);

    test(`${how}, as text()`, async () => {
      const server = await serve(async (request) => new Response(await request.text()));
      expect(await server.fetch({ method: "POST", length }, pieces)).toMatchObject({ text: json, reuse: true });
    });

    test(`${how}, as json()`, async () => {
      const server = await serve(async (request) => Response.json(await request.json()));
      expect(await server.fetch({ method: "POST", length }, pieces)).toMatchObject({ text: json, reuse: true });
    });

    test(`${how}, as blob()`, async () => {
      const server = await serve(async (request) => {
        const blob = await request.blob();
        return new Response(`${blob.type} ${await blob.text()}`);
      });
      const headers: [string, string][] = [["content-type", "application/json"]];
      // Bun forgets the type of a Request whose body is a stream.
      const type = runtime === "bun" ? "" : "application/json";
      expect((await server.fetch({ method: "POST", length, headers }, pieces)).text).toBe(`${type} ${json}`);
    });

    test(`${how}, as a stream read by hand`, async () => {
      const server = await serve(async (request) => new Response(new TextDecoder().decode(await readByHand(request))));
      expect(await server.fetch({ method: "PUT", length }, pieces)).toMatchObject({ text: json, reuse: true });
    });

    test(`${how}, as for await`, async () => {
      const server = await serve(async (request) => {
        let count = 0;
        for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) count += chunk.length;
        return new Response(String(count));
      });
      expect(await server.fetch({ method: "PATCH", length }, pieces)).toMatchObject({ status: 200, reuse: true });
    });

    test(`${how}, as multipart formData()`, async () => {
      const server = await serve(async (request) => {
        const form = await request.formData();
        const file = form.get("file") as File;
        return new Response(`${form.get("name")} ${file.name} ${sha(new Uint8Array(await file.arrayBuffer()))}`);
      });
      const file = pattern(20_000);
      const form = new FormData();
      form.set("name", "ada");
      form.set("file", new File([file as Uint8Array<ArrayBuffer>], "a.bin"));
      const encoded = new Response(form);
      const type = encoded.headers.get("content-type")!;
      const body = new Uint8Array(await encoded.arrayBuffer());
      const response = await server.fetch(
        { method: "POST", length: lengthOf(how, body.length), headers: [["content-type", type]] },
        body,
      );
      expect(response).toMatchObject({ text: `ada a.bin ${sha(file)}`, reuse: true });
    });

    for (const packetSize of [8192, 65536]) {
      test(`${how}, 2 MiB in packets of ${packetSize}, echoed while it is read`, async () => {
        const server = await serve((request) => new Response(request.body), { packetSize });
        const body = pattern(2 * 1024 * 1024);
        const client = await server.connect();
        for (let i = 0; i < 2; i++) {
          client.send({ method: "POST", length: lengthOf(how, body.length) }, body);
          const response = await client.readResponse();
          expect(sha(response.body)).toBe(sha(body));
          expect(response.reuse).toBe(true);
          const most = packetSize - 6;
          const asked = how === "known" ? Math.ceil(body.length / most) - 1 : Math.ceil(body.length / most) + 1;
          expect(response.asked).toHaveLength(asked);
          expect(Math.max(...response.asked)).toBe(most);
        }
      });
    }

    test(`${how}, in packets of any size`, async () => {
      const server = await serve(digest);
      const body = pattern(30_000);
      const cuts = [0, 1, 2, 5, 514 + 5, 8186 + 519, 20_000, 29_999, 30_000];
      const parts = cuts.slice(1).map((end, i) => body.subarray(cuts[i], end));
      const response = await server.fetch({ method: "POST", length: lengthOf(how, body.length) }, parts);
      expect(response).toMatchObject({ text: `30000 ${sha(body)}`, reuse: true });
    });
  }

  test("a coded content-length without a body gives no body and asks for none", async () => {
    const server = await serve(async (request) => new Response(`${request.body === null} ${await request.text()}`));
    const headers: [string, string][] = [["content-length", "0"]];
    expect(await server.fetch({ method: "POST", headers })).toMatchObject({ text: "true ", asked: [], reuse: true });
  });

  test("an empty chunked body is asked for once", async () => {
    const server = await serve(async (request) => new Response(`<${await request.text()}>`));
    expect(await server.fetch({ method: "POST", length: "chunked" })).toMatchObject({ text: "<>", asked: [8186] });
  });

  test("a clone reads the same", async () => {
    const server = await serve(async (request) => {
      const copy = request.clone();
      const [first, second] = await Promise.all([request.text(), copy.text()]);
      return new Response(String(first === second && first.length));
    });
    expect((await server.fetch({ method: "POST", length: "chunked" }, ["abc", "def"])).text).toBe("6");
  });

  test("handlers on several connections do not share anything", async () => {
    const server = await serve(digest);
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const body = pattern(50_000 + i).map((byte) => byte ^ i);
      const response = await server.fetch({ method: "POST", length: i % 2 ? "chunked" : body.length }, body);
      expect(response.text).toBe(`${body.length} ${sha(body)}`);
    }));
  });
});

describe("request body, unread", () => {
  test("nothing is asked for a chunked one, and the connection goes on", async () => {
    const server = await serve(() => new Response("ignored"));
    const client = await server.connect();
    for (let i = 0; i < 3; i++) {
      client.send({ method: "POST", length: i % 2 ? "chunked" : "unknown" }, "body");
      expect(await client.readResponse()).toMatchObject({ text: "ignored", asked: [], reuse: true });
    }
    await client.cping();
  });

  test("the end waits for the packet that is owed, and the connection goes on", async () => {
    const server = await serve(() => new Response("early"));
    const client = await server.connect();
    client.send({ method: "POST", length: 20_000 });
    expect(await client.nextPacket()).toMatchObject({ type: "SendHeaders", status: 200 });
    expect(await client.nextPacket()).toMatchObject({ type: "SendBodyChunk" });
    const end = client.nextPacket();
    expect(await pending(end, 50)).toBe(true);
    expect(server.server.stats.activeRequests).toBe(1);
    client.sendData(new Uint8Array(8186));
    expect(await end).toEqual({ type: "EndResponse", reuse: true });
    await client.cping();
  });

  test("a body that looks like a request is none", async () => {
    const seen: string[] = [];
    const server = await serve((request) => {
      seen.push(new URL(request.url).pathname);
      return new Response("ok");
    });
    const client = await server.connect();
    const forged = new Uint8Array(514);
    forged.set(hex("0008 485454502f312e31 00 0007 2f666f72676564 00"));
    client.send({ method: "POST", uri: "/real" }, forged);
    expect(await client.readResponse()).toMatchObject({ status: 200, reuse: true });
    client.send({ uri: "/next" });
    expect(await client.readResponse()).toMatchObject({ status: 200, reuse: true });
    expect(seen).toEqual(["/real", "/next"]);
  });

  for (const method of ["GET", "HEAD"]) {
    test(`${method} with a body gives the handler none and reads it off`, async () => {
      const server = await serve((request) => new Response(String(request.body)));
      const client = await server.connect();
      for (let i = 0; i < 2; i++) {
        client.send({ method }, "a body of GET");
        expect(await client.readResponse()).toMatchObject({
          status: 200,
          reuse: true,
          asked: [],
          text: method === "GET" ? "null" : "",
        });
      }
      client.send({ method, length: "chunked" }, "a body of GET");
      expect(await client.readResponse()).toMatchObject({ status: 200, reuse: true, asked: [] });
      await client.cping();
    });
  }

  test("cancelled by the handler, nothing more is asked for", async () => {
    const server = await serve(async (request) => {
      const reader = request.body!.getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return new Response(String(value!.length));
    });
    const client = await server.connect();
    for (const length of [100_000, "chunked"] as const) {
      client.send({ method: "POST", length }, pattern(100_000));
      const response = await client.readResponse();
      expect(response).toMatchObject({ text: "8186", reuse: true, asked: length === "chunked" ? [8186] : [] });
    }
    await client.cping();
  });

  test("still read while the response ends, it fails once the packet has come", async () => {
    const failure = new Gate<unknown>();
    const server = await serve((request) => {
      request.text().then(failure.open.bind(failure), failure.open.bind(failure));
      return new Response("done");
    });
    const client = await server.connect();
    client.send({ method: "POST", length: "chunked" }, ["part", "more"]);
    const response = await client.readResponse();
    expect(response).toMatchObject({ text: "done", reuse: true });
    expect(response.asked.length).toBeLessThan(2);
    expect(await failure.promise).toBeInstanceOf(Error);
    await client.cping();
    expect(client.unread).toBe(0);
  });

  test("read after the response, it fails and asks for nothing", async () => {
    const late = new Gate<Request>();
    const server = await serve((request) => {
      late.open(request);
      return new Response("done");
    });
    const client = await server.connect();
    client.send({ method: "POST", length: "chunked" }, "body");
    expect(await client.readResponse()).toMatchObject({ text: "done", reuse: true });
    const error = await (await late.promise).text().then(() => undefined, (error) => error);
    expect(error).toBeInstanceOf(Error);
    await client.cping();
    expect(client.unread).toBe(0);
  });
});

describe("request body, slowly read", () => {
  for (const how of ["chunked", "known"] as const) {
    test(`${how}: each packet is asked for by a read and not before`, async () => {
      const reads: Gate<number>[] = [];
      const go: Gate[] = Array.from({ length: 4 }, () => new Gate());
      const server = await serve(async (request) => {
        const reader = request.body!.getReader();
        for (const gate of go) {
          await gate.promise;
          reads.shift()!.open((await reader.read()).value?.length ?? 0);
        }
        return new Response("done");
      });
      const client = await server.connect();
      client.send({ method: "POST", length: how === "known" ? 40 : "chunked" });
      let packet = client.nextPacket();
      for (let i = 0; i < 4; i++) {
        // The first packet of a known length is owed, so nothing is asked for it.
        const unasked = how === "known" && i === 0;
        if (unasked) client.sendData("0123456789");
        expect(await pending(packet, 20)).toBe(true);
        const read = new Gate<number>();
        reads.push(read);
        go[i]!.open();
        if (!unasked) {
          expect(await packet).toEqual({ type: "GetBodyChunk", length: how === "known" ? 40 - i * 10 : 8186 });
          packet = client.nextPacket();
          client.sendData("0123456789");
        }
        expect(await read.promise).toBe(10);
      }
      expect(await packet).toMatchObject({ type: "SendHeaders" });
    });
  }

  test("two reads at once ask for one packet at a time", async () => {
    const server = await serve(async (request) => {
      const reader = request.body!.getReader();
      const results = await Promise.all([reader.read(), reader.read(), reader.read()]);
      return new Response(results.map(({ value }) => value?.length ?? "end").join());
    });
    const client = await server.connect();
    client.send({ method: "POST", length: "chunked" });
    for (const data of ["a", "bb", ""]) {
      expect(await client.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
      await delay(10);
      expect(client.unread).toBe(0);
      client.sendData(data);
    }
    expect(await client.readResponse()).toMatchObject({ text: "1,2,end", reuse: true });
  });
});

describe("request body, broken", () => {
  /** A handler that tells what reading its body came to. */
  async function broken(...packets: Uint8Array[]): Promise<{
    error: unknown;
    aborted: unknown;
    completed: unknown;
    response: { status: number; reuse: boolean | undefined };
    stats: { protocolErrors: number; activeRequests: number };
  }> {
    const outcome = new Gate<{ error: unknown; aborted: unknown; completed: unknown }>();
    const server = await serve(async (request, info) => {
      const { signal } = request;
      const error = await request.text().then((text) => `whole: ${text}`, (error) => error);
      const completed = await info.completed.then(() => undefined, (error) => error);
      outcome.open({ error, aborted: signal.reason, completed });
      return new Response("too late");
    });
    const client = await server.connect();
    client.send({ method: "POST", length: 10 });
    client.write(...packets);
    const response = await client.readResponse();
    expect(await client.nextPacket()).toBe(null);
    return { ...await outcome.promise, response, stats: server.server.stats };
  }

  for (
    const [what, code, packets] of [
      ["too short", "ERR_BODY_TRUNCATED", [hex("1234 0002 0000")]],
      ["too short in mod_jk's spelling", "ERR_BODY_TRUNCATED", [hex("1234 0000")]],
      ["too short after a part", "ERR_BODY_TRUNCATED", [dataPacket("12345")]],
      ["too long", "ERR_BODY_OVERRUN", [dataPacket("12345678901")]],
      ["with a length that lies", "ERR_AJP_MALFORMED", [hex("1234 0004 0003 6161")]],
    ] as const
  ) {
    test(`${what}: it fails, signal fires, 400 without reuse`, async () => {
      const { error, aborted, completed, response, stats } = await broken(...packets);
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error).toMatchObject({ code });
      expect(aborted).toBe(error);
      expect(completed).toBe(error);
      expect(response).toMatchObject({ status: 400, reuse: false });
      expect(stats).toMatchObject({ protocolErrors: 1, activeRequests: 0 });
    });
  }

  test("by a wrong magic: the connection is closed without an answer", async () => {
    const { error, response } = await broken(hex("0505 0505 0505"));
    expect(error).toMatchObject({ code: "ERR_AJP_MAGIC" });
    expect(response).toMatchObject({ status: 0, reuse: undefined });
  });

  test("after the head has been sent: no End Response", async () => {
    const server = await serve((request) => new Response(request.body));
    const client = await server.connect();
    client.send({ method: "POST", length: 10 });
    client.sendData("12345");
    expect(await client.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
    await until(() => client.unread > 0, "the head");
    client.sendEnd();
    const response = await client.readResponse();
    expect(response).toMatchObject({ status: 200, reuse: undefined });
    expect(server.server.stats.activeRequests).toBe(0);
  });

  test("over maxBodyBytes with an unknown length: 413 without reuse", async () => {
    const failure = new Gate<unknown>();
    const server = await serve(async (request) => {
      failure.open(await request.text().catch((error) => error));
      return new Response("too late");
    }, { maxBodyBytes: 10_000 });
    const response = await server.fetch({ method: "POST", length: "chunked" }, pattern(20_000));
    expect(response).toMatchObject({ status: 413, reuse: false });
    expect(await failure.promise).toMatchObject({ code: "ERR_BODY_TOO_LARGE" });
  });

  test("nobody asked for a packet: 400 without reuse when the body is read", async () => {
    const go = new Gate();
    const server = await serve(async (request) => {
      await go.promise;
      return new Response(await request.text());
    });
    const client = await server.connect();
    client.send({ method: "POST", length: "chunked" });
    client.sendData("unasked");
    await until(() => server.server.stats.bytesReceived > 60, "the packet");
    go.open();
    expect(await client.readResponse()).toMatchObject({ status: 400, reuse: false, asked: [] });
    expect(server.server.stats.protocolErrors).toBe(1);
  });
});

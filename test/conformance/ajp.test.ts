// Tomcat's conformance cases (its TestAbstractAjpProcessor), adapted: no request for a body that is whole already, and
// the reason phrase where Tomcat sends the number.
import { describe, expect, test } from "vitest";
import type { HandlerInfo } from "../../src/types.ts";
import type { AjpRequest, AjpResponse } from "../support/ajp_client.ts";
import { serve } from "../support/ajp_fixture.ts";
import { hex, utf8 } from "../support/hex.ts";
import { Gate } from "../support/until.ts";

/** What Tomcat's own client sends where a test says nothing. */
const DEFAULTS: AjpRequest = {
  protocol: "http",
  remoteAddr: "192.168.0.1",
  remoteHost: "client.example.com",
  serverName: "www.example.com",
};

/** Tomcat's "snoop" servlet: one request, told back as the handler saw it. */
async function snoop(request: AjpRequest): Promise<{ seen: Record<string, unknown>; response: AjpResponse }> {
  const server = await serve((request, info) => Response.json(describeRequest(request, info)), {
    packetSize: 16000,
    allowedAttributes: /MYATTRIBUTE.*/,
  });
  const response = await server.fetch({ ...DEFAULTS, ...request });
  expect(response).toMatchObject({ status: 200, reason: "OK", reuse: true, asked: [] });
  expect(response.chunks).toHaveLength(1);
  return { seen: JSON.parse(response.text), response };
}

function describeRequest(request: Request, info: HandlerInfo): Record<string, unknown> {
  return {
    url: request.url,
    method: request.method,
    headers: Object.fromEntries(request.headers),
    params: Object.fromEntries(info.params),
    remoteAddr: info.remoteAddr,
    remoteUser: info.remoteUser,
    authType: info.authType,
    secure: info.ssl !== undefined,
  };
}

describe("Tomcat's snoop cases", () => {
  test("testServerName", async () => {
    const { seen } = await snoop({ serverName: "MYSERVER" });
    expect(seen).toMatchObject({ url: "http://myserver/", params: { SERVER_NAME: "MYSERVER" } });
  });

  test("testServerPort", async () => {
    const { seen } = await snoop({ serverPort: 8888 });
    expect(seen).toMatchObject({ url: "http://www.example.com:8888/", params: { SERVER_PORT: "8888" } });
  });

  test("testLocalAddr", async () => {
    const { seen } = await snoop({ requestAttributes: [["AJP_LOCAL_ADDR", "10.3.2.1"]] });
    expect(seen).toMatchObject({ params: { SERVER_ADDR: "10.3.2.1" } });
  });

  test("testRemoteHost", async () => {
    const { seen } = await snoop({ remoteHost: "MYCLIENT" });
    expect(seen).toMatchObject({ params: { REMOTE_HOST: "MYCLIENT" } });
  });

  test("testRemoteAddr", async () => {
    const { seen } = await snoop({ remoteAddr: "10.1.2.3" });
    expect(seen).toMatchObject({ remoteAddr: { hostname: "10.1.2.3", port: 0 } });
  });

  test("testRemotePort", async () => {
    const { seen } = await snoop({ requestAttributes: [["AJP_REMOTE_PORT", "34567"]] });
    expect(seen).toMatchObject({ remoteAddr: { hostname: "192.168.0.1", port: 34567 } });
  });

  test("testMethod", async () => {
    const { seen } = await snoop({ method: "LOCK" });
    expect(seen).toMatchObject({ method: "LOCK" });
  });

  test("testUri", async () => {
    const { seen } = await snoop({ uri: "/a/b/c" });
    expect(seen).toMatchObject({ url: "http://www.example.com/a/b/c", params: { REQUEST_URI: "/a/b/c" } });
  });

  test("testProtocol", async () => {
    const { seen } = await snoop({ protocol: "HTTP/1.x" });
    expect(seen).toMatchObject({ params: { SERVER_PROTOCOL: "HTTP/1.x" } });
  });

  test("testSecure", async () => {
    const { seen } = await snoop({ isSsl: true });
    expect(seen).toMatchObject({ secure: true, params: { HTTPS: "on", REQUEST_SCHEME: "https" } });
    expect(seen["url"]).toBe("https://www.example.com:80/");
  });

  test("testQueryString", async () => {
    const { seen } = await snoop({ attributes: { queryString: "p1=1&p2=12&p3=123" } });
    expect(seen["url"]).toBe("http://www.example.com/?p1=1&p2=12&p3=123");
    expect(seen).toMatchObject({ params: { QUERY_STRING: "p1=1&p2=12&p3=123" } });
  });

  test("testRemoteUser", async () => {
    expect((await snoop({ attributes: { remoteUser: "MYUSER" } })).seen).toMatchObject({ remoteUser: "MYUSER" });
  });

  test("testAuthType", async () => {
    expect((await snoop({ attributes: { authType: "MyAuth" } })).seen).toMatchObject({ authType: "MyAuth" });
  });

  test("testOneHeader", async () => {
    const { seen } = await snoop({ headers: [["MYHEADER", "MYHEADER-VALUE"]] });
    expect(seen).toMatchObject({ headers: { myheader: "MYHEADER-VALUE" } });
  });

  test("testOneAttribute", async () => {
    const { seen } = await snoop({ requestAttributes: [["MYATTRIBUTE", "MYATTRIBUTE-VALUE"]] });
    expect(seen).toMatchObject({ params: { MYATTRIBUTE: "MYATTRIBUTE-VALUE" } });
  });

  test("testMulti", async () => {
    const { seen } = await snoop({
      serverName: "MYSERVER",
      serverPort: 8888,
      remoteHost: "MYCLIENT",
      remoteAddr: "10.1.2.3",
      method: "LOCK",
      uri: "/a/b/c",
      protocol: "HTTP/1.x",
      isSsl: true,
      attributes: { queryString: "p1=1&p2=12&p3=123", remoteUser: "MYUSER", authType: "MyAuth" },
      headers: [["MYHEADER1", "MYHEADER1-VALUE"], ["MYHEADER2", "MYHEADER2-VALUE"]],
      requestAttributes: [
        ["AJP_LOCAL_ADDR", "10.3.2.1"],
        ["AJP_REMOTE_PORT", "34567"],
        ["MYATTRIBUTE1", "MYATTRIBUTE1-VALUE"],
        ["MYATTRIBUTE2", "MYATTRIBUTE2-VALUE"],
      ],
    });
    expect(seen).toEqual({
      url: "https://myserver:8888/a/b/c?p1=1&p2=12&p3=123",
      method: "LOCK",
      headers: { myheader1: "MYHEADER1-VALUE", myheader2: "MYHEADER2-VALUE" },
      params: {
        REQUEST_METHOD: "LOCK",
        REQUEST_URI: "/a/b/c?p1=1&p2=12&p3=123",
        QUERY_STRING: "p1=1&p2=12&p3=123",
        SERVER_PROTOCOL: "HTTP/1.x",
        SERVER_NAME: "MYSERVER",
        SERVER_PORT: "8888",
        SERVER_ADDR: "10.3.2.1",
        REMOTE_ADDR: "10.1.2.3",
        REMOTE_PORT: "34567",
        REMOTE_HOST: "MYCLIENT",
        HTTPS: "on",
        REQUEST_SCHEME: "https",
        REMOTE_USER: "MYUSER",
        AUTH_TYPE: "MyAuth",
        MYATTRIBUTE1: "MYATTRIBUTE1-VALUE",
        MYATTRIBUTE2: "MYATTRIBUTE2-VALUE",
      },
      remoteAddr: { transport: "tcp", hostname: "10.1.2.3", port: 34567 },
      remoteUser: "MYUSER",
      authType: "MyAuth",
      secure: true,
    });
  });
});

describe("Tomcat's body cases", () => {
  for (const [name, length] of [["testSmallBody", 100], ["testLargeBody", 10000]] as const) {
    test(name, async () => {
      const server = await serve(async (request) => new Response(`Body length: ${(await request.text()).length}`), {
        packetSize: 16000,
      });
      const client = await server.connect();
      client.send({ ...DEFAULTS, method: "PUT", headers: [["content-length", String(length)]] });
      // Tomcat's client pads its data packets with these four bytes.
      const payload = [length >> 8, length & 255, ...new Uint8Array(length).fill(65), 0, 0, 0, 0xff];
      client.write(Uint8Array.of(0x12, 0x34, payload.length >> 8, payload.length & 255, ...payload));
      const response = await client.readResponse();
      expect(response).toMatchObject({ status: 200, asked: [], reuse: true, text: `Body length: ${length}` });
      await client.cping();
    });
  }

  test("an empty body packet in the spelling of Tomcat's client", async () => {
    const server = await serve(async (request) => new Response(`Body length: ${(await request.text()).length}`));
    const client = await server.connect();
    client.send({ ...DEFAULTS, method: "PUT", length: "unknown" });
    expect(await client.nextPacket()).toEqual({ type: "GetBodyChunk", length: 8186 });
    client.write(hex("1234 0006 0000 000000ff"));
    expect(await client.readResponse()).toMatchObject({ status: 200, reuse: true, text: "Body length: 0" });
  });

  test("testPost", async () => {
    const server = await serve(async (request) => new Response((await request.formData()).get("test") as string));
    const client = await server.connect();
    client.send({
      ...DEFAULTS,
      method: "POST",
      headers: [["content-length", "9"], ["content-type", "application/x-www-form-urlencoded"]],
    }, "test=data");
    expect(await client.readResponse()).toMatchObject({ status: 200, asked: [], reuse: true, text: "data" });
    await client.cping();
  });

  test("testPostMultipleContentLength", async () => {
    const server = await serve(() => new Response("never"));
    const client = await server.connect();
    client.send({
      ...DEFAULTS,
      method: "POST",
      headers: [
        ["content-length", "9"],
        ["content-length", "99"],
        ["content-type", "application/x-www-form-urlencoded"],
      ],
    }, "test=data");
    const response = await client.readResponse();
    expect(response).toMatchObject({ status: 400, asked: [], reuse: false, text: "400 Bad Request\n" });
    expect(await client.nextPacket()).toBe(null);
    expect(server.server.stats.totalRequests).toBe(0);
  });

  for (const method of ["GET", "POST"]) {
    test(`testZeroLengthRequestBody ${method}`, async () => {
      const server = await serve(async (request) =>
        new Response(`Request Body length is ${(await request.text()).length}`)
      );
      const client = await server.connect();
      client.send({ ...DEFAULTS, method, headers: [["content-length", "0"]] });
      const response = await client.readResponse();
      expect(response).toMatchObject({ status: 200, asked: [], reuse: true, text: "Request Body length is 0" });
      await client.cping();
    });
  }
});

describe("Tomcat's other cases", () => {
  for (
    const [condition, secrets, status] of [
      ["none", [], 403],
      ["a wrong one", ["WRONGSECRET"], 403],
      ["the right one", ["RIGHTSECRET"], 200],
    ] as [string, string[], number][]
  ) {
    test(`testSecret, ${condition}`, async () => {
      const server = await serve(() => new Response("welcome"), { secret: "RIGHTSECRET" });
      const client = await server.connect();
      await client.cping();
      client.send({ ...DEFAULTS, secrets });
      const response = await client.readResponse();
      expect(response).toMatchObject({ status, reuse: status === 200 });
      expect(response.body.length).toBeGreaterThan(0);
      if (status === 200) await client.cping();
      else expect(await client.nextPacket()).toBe(null);
    });
  }

  test("testKeepAlive", async () => {
    const server = await serve((request) => new Response(request.headers.get("x-dummy-header")));
    const client = await server.connect();
    await client.cping();
    for (let i = 0; i < 2; i++) {
      client.send({ ...DEFAULTS, headers: [["X-DUMMY-HEADER", `IGNORE ${i}`]] });
      expect(await client.readResponse()).toMatchObject({ status: 200, reuse: true, text: `IGNORE ${i}` });
      await client.cping();
    }
    expect(server.server.stats.totalConnections).toBe(1);
  });

  test("test304WithBody", async () => {
    // A real Response refuses that body, so it is put in the place of the null.
    const server = await serve(() => {
      const response = new Response("Body not permitted for 304 response");
      Object.defineProperty(response, "status", { value: 304 });
      return response;
    });
    const client = await server.connect();
    client.send(DEFAULTS);
    const response = await client.readResponse();
    expect(response).toMatchObject({ status: 304, reuse: true, packets: ["SendHeaders", "EndResponse"] });
    await client.cping();
  });

  test("testLargeResponse", async () => {
    const server = await serve(() => new Response("x".repeat(15000)), { packetSize: 16000 });
    const response = await server.fetch(DEFAULTS);
    expect(response).toMatchObject({ status: 200, reuse: true, chunks: [15000] });
  });

  test("testInvalidHeader", async () => {
    // Headers of the runtime refuse that value, so what gives it is not one of them.
    const server = await serve(() => {
      const response = new Response(null);
      const headers = new Map([["x-test-1", "first"], ["x-test-2", "middle \u039A"], ["x-test-3", "last"]]);
      Object.defineProperty(response, "headers", { value: headers });
      return response;
    });
    const client = await server.connect();
    client.send(DEFAULTS);
    const response = await client.readResponse();
    expect(response).toMatchObject({ status: 200, reuse: true });
    expect(response.headers.map(([name]) => name)).toEqual(["x-test-1", "x-test-3", "content-length"]);
    await client.cping();
  });

  test("testNoHeaders", async () => {
    const server = await serve(() => {
      const body = new ReadableStream<Uint8Array>({
        async start(controller) {
          await response.promise;
          controller.close();
        },
      });
      return new Response(body);
    });
    const response = new Gate();
    const client = await server.connect();
    client.send(DEFAULTS);
    expect(await client.nextPacket()).toEqual({ type: "SendHeaders", status: 200, reason: "OK", headers: [] });
    expect(await client.nextPacket()).toEqual({ type: "SendBodyChunk", data: utf8("") });
    response.open();
    expect(await client.nextPacket()).toEqual({ type: "EndResponse", reuse: true });
    await client.cping();
  });
});

import { createHmac, randomUUID } from "node:crypto";
import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { ClientError } from "../../src/client/client-error.ts";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { TestDeviceKey } from "../support/device-key.ts";
import { enrolDevice, refusal } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { toldAtAllDoors } from "../support/who-am-i.ts";

/** Whoever has no device's key, or not any more, and wants to be the device. */

const { whoAmI, listAuditEvents } = AccessService.method;
const {
  enrolDevice: enrol,
  replaceDeviceKey,
  rotateDeviceToken,
  blockDevice,
  unblockDevice,
  resetDeviceCredential,
  retireDevice,
} = DeviceService.method;

let service: TestService;
let clients: RpcClient[];
beforeAll(async () => {
  clients = [];
  service = await startTestService({ settings: { DEVICE_OTA_RATE_LIMIT_CREDENTIAL: "off" } });
});
afterAll(async () => {
  for (const client of clients) client.close();
  await service[Symbol.asyncDispose]();
});

function client(token?: string): RpcClient {
  const made = new RpcClient({ address: service.grpcAddress, token });
  clients.push(made);
  return made;
}

const operator = () => client(service.adminToken);

/** What all doors say of who calls: the device's id, or the reason of the refusal. */
const told = (token: string) => toldAtAllDoors(service, token, "deviceId");

const atAllDoors = (outcome: string) => [outcome, outcome, outcome];

interface Enrolment {
  readonly serialNumber?: string;
  readonly requestId?: string;
  readonly publicKey?: string;
  readonly keyProof?: string;
}

async function asks(key: TestDeviceKey, other: Enrolment = {}) {
  const { serialNumber = `k ${randomUUID()}`, requestId = randomUUID() } = other;
  return {
    requestId,
    enrolmentKey: service.enrolmentKey,
    serialNumber,
    deviceType: "lamp",
    hardwareModel: "l-1",
    firmwareVersion: "1.0.0",
    publicKey: other.publicKey ?? key.pem,
    keyProof: other.keyProof ?? (await key.claim(key, { sub: serialNumber, requestId })),
  };
}

/** A device that enrolled with a key of its own. */
async function device(kind: "ed25519" | "p256" = "ed25519") {
  const key = new TestDeviceKey(kind);
  const { device: enrolled, deviceToken } = await client().unary(enrol, await asks(key));
  return { id: enrolled?.id ?? "", key, deviceToken };
}

const hello = (deviceId: string) => ({
  message: { case: "hello" as const, value: { deviceId, firmwareVersion: "1.0.0", bootId: "b" } },
});

/** A heartbeat stream that is welcome. */
async function stream(id: string, token: string) {
  const call = client(token).bidi(HeartbeatService.method.streamHeartbeats);
  await call.send(hello(id));
  const messages = call[Symbol.asyncIterator]();
  expect((await messages.next()).value?.message.case).toBe("welcome");
  return {
    /** How it ends: a reason. */
    async end(): Promise<string> {
      try {
        for (;;) if ((await messages.next()).done === true) return "";
      } catch (error) {
        return error instanceof ClientError ? error.reason : String(error);
      }
    },
  };
}

const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("whether a device is known", () => {
  const stranger = new TestDeviceKey("ed25519");
  const unknownId = "0199aaaa-0000-7000-8000-000000000000";

  it("is not told to who has no key of it, whatever became of the device", async () => {
    const [known, reset, retired] = [await device(), await device(), await device()];
    const [curved, blocked] = [await device("p256"), await device()];
    await operator().unary(resetDeviceCredential, { id: reset.id });
    await operator().unary(retireDevice, { id: retired.id });
    await operator().unary(blockDevice, { id: blocked.id, reason: "lost" });
    const [answer, ...others] = await Promise.all(
      [unknownId, known.id, curved.id, blocked.id, reset.id, retired.id].map(async (id) => {
        const token = client(await stranger.token(id));
        const error = await token.unary(whoAmI, {}).catch((thrown: unknown) => thrown);
        if (!(error instanceof ClientError)) throw new Error("it is let in");
        const { requestId: _, ...metadata } = error.metadata;
        return { code: error.code, reason: error.reason, message: error.message, metadata };
      }),
    );
    for (const other of others) expect(other).toEqual(answer);
    expect(answer).toMatchObject({
      reason: "CREDENTIAL_INVALID",
      metadata: { enrol_with: "former_device_id" },
    });
    expect(await told(await stranger.token(known.id))).toEqual(atAllDoors("CREDENTIAL_INVALID"));
  });

  it("is told at an enrolment to who holds a fleet's key, and uses up no leave of an operator", async () => {
    const key = new TestDeviceKey("ed25519");
    const serialNumber = `k ${randomUUID()}`;
    const { device: made } = await client().unary(enrol, await asks(key, { serialNumber }));
    const formerDeviceId = made?.id ?? "";
    const enrolAs = async (former: string, enrolmentKey = service.enrolmentKey) => {
      const request = await asks(key, { serialNumber, requestId: randomUUID() });
      return await client().unary(enrol, { ...request, enrolmentKey, formerDeviceId: former });
    };
    const isKnown = { code: "FAILED_PRECONDITION", reason: "DEVICE_KNOWN", fields: [] };
    expect(await refusal(enrolAs(formerDeviceId))).toEqual(isKnown);
    for (const former of [formerDeviceId, unknownId])
      expect((await refusal(enrolAs(former, "not-a-key-of-this-fleet"))).reason).toBe(
        "ENROLMENT_KEY_INVALID",
      );
    expect(await refusal(enrolAs("no uuid"))).toMatchObject({ fields: ["former_device_id"] });
    // A serial number that is taken stays so, whoever its device says it was.
    expect((await refusal(enrolAs(unknownId))).reason).toBe("DUPLICATE");

    await operator().unary(resetDeviceCredential, { id: formerDeviceId });
    expect(await refusal(enrolAs(formerDeviceId))).toEqual(isKnown);
    const { device: again } = await client().unary(enrol, await asks(key, { serialNumber }));
    expect(again?.id).toBe(formerDeviceId);
    await operator().unary(retireDevice, { id: formerDeviceId });
    expect(await refusal(enrolAs(formerDeviceId))).toEqual(isKnown);
  });
});

describe("a JWT that a device signed", () => {
  it("is its credential at every door, for calls and streams, by Ed25519 and by P-256, in PEM and as a JWK", async () => {
    for (const kind of ["ed25519", "p256"] as const) {
      const { id, key, deviceToken } = await device(kind);
      expect(deviceToken).toBe("");
      const token = await key.token(id);
      expect(await told(token)).toEqual(atAllDoors(id));
      // From memory as well.
      expect(await told(token)).toEqual(atAllDoors(id));
      await stream(id, token);
      const other = new TestDeviceKey(kind);
      const { device: second } = await client().unary(enrol, await asks(other, { publicKey: other.jwk }));
      expect(await told(await other.token(second?.id ?? ""))).toEqual(atAllDoors(second?.id ?? ""));
    }
  });

  it("counts by the stored key and its algorithm alone, whatever its header says", async () => {
    const { id, key } = await device();
    const { id: curved, key: curve } = await device("p256");
    const thief = new TestDeviceKey("ed25519");
    const jwk = thief.publicKey.export({ format: "jwk" });
    const [, claims = ""] = (await key.token(id)).split(".");
    const hmac = (secret: string | Buffer) => {
      const signed = `${base64url({ alg: "HS256", typ: "ota-device+jwt" })}.${claims}`;
      return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
    };
    const spki = key.publicKey.export({ format: "der", type: "spki" });
    const [header, body, signature = ""] = (await key.token(id)).split(".");
    const forged = [
      await thief.token(id),
      await thief.token(id, {}, { jwk }),
      await thief.token(id, {}, { kid: thief.thumbprint }),
      await thief.token(id, {}, { kid: "../../../etc/passwd" }),
      await thief.token(id, {}, { kid: "' OR 1=1 --" }),
      await thief.token(id, {}, { jku: `${service.httpUrl}/keys`, x5u: `${service.httpUrl}/chain` }),
      await curve.token(id),
      await key.token(curved),
      await key.token(id, {}, { crit: ["own"], own: 1 }),
      `${base64url({ alg: "none", typ: "ota-device+jwt" })}.${claims}.`,
      `${base64url({ alg: "None", typ: "ota-device+jwt" })}.${claims}.${signature}`,
      `${base64url({ alg: "ES256", typ: "ota-device+jwt" })}.${claims}.${signature}`,
      hmac(key.pem),
      hmac(spki),
      hmac(""),
      `${header}.${base64url({ sub: curved, aud: "device-ota", iat: 0, exp: 9e9 })}.${signature}`,
      `${header}.${body}.${signature.slice(0, -2)}`,
      `${header}.${body}.`,
      // The key is no secret: neither it nor what is stored of it opens anything.
      key.thumbprint,
      base64url(key.publicKey.export({ format: "jwk" })),
    ];
    for (const token of forged) expect(await told(token), token).toEqual(atAllDoors("CREDENTIAL_INVALID"));
    expect(await told(await key.token(id))).toEqual(atAllDoors(id));
  });

  it("is of this service, of this device and of this kind", async () => {
    const { id, key } = await device();
    const { id: other } = await device();
    const requestId = randomUUID();
    const strange = [
      await key.token(id, { aud: "another-service" }),
      await key.token(id, { aud: undefined }),
      await key.token(id, { aud: ["a", "b"] }),
      await key.token(other),
      await key.token(randomUUID()),
      await key.token("' OR 1=1 --"),
      await key.token(id.toUpperCase()),
      await key.token(id, { sub: undefined }),
      await key.token(id, { sub: { $ne: "" } }),
      await key.token(id, {}, { typ: "JWT" }),
      await key.token(id, {}, { typ: "at+jwt" }),
      // What proves a key is no bearer token.
      await key.claim(key, { sub: id, requestId }),
    ];
    for (const token of strange) expect(await told(token), token).toEqual(atAllDoors("CREDENTIAL_INVALID"));
  });

  it("is of now, and a device whose clock is wrong learns the time from the refusal", async () => {
    const { id, key } = await device();
    const now = Math.floor(Date.now() / 1_000);
    const untimely = [
      { iat: now - 1_000, exp: now - 700 },
      { iat: now + 1_000, exp: now + 1_100 },
      { iat: 5, exp: 305 },
      { iat: now, exp: now + 1_000 },
      { iat: now, exp: 9e15 },
      { nbf: now + 1_000 },
    ];
    for (const times of untimely)
      expect(await told(await key.token(id, times)), JSON.stringify(times)).toEqual(
        atAllDoors("TOKEN_TIME_WRONG"),
      );
    const timeless = [{ iat: undefined }, { exp: undefined }, { iat: "now" }, { exp: `${now + 60}` }];
    for (const times of timeless)
      expect(await told(await key.token(id, times)), JSON.stringify(times)).toEqual(
        atAllDoors("CREDENTIAL_INVALID"),
      );

    const error = await client(await key.token(id, { iat: 5, exp: 305 }))
      .unary(whoAmI, {})
      .catch((thrown: unknown) => thrown);
    const told1 = Date.parse((error as ClientError).metadata["server_time"] ?? "");
    const iat = Math.floor(told1 / 1_000);
    expect(await told(await key.token(id, { iat, exp: iat + 60 }))).toEqual(atAllDoors(id));
  });

  it("of a megabyte is refused at every door, and disturbs nobody", async () => {
    const { id, key } = await device();
    const huge = await key.token(id, { padding: "x".repeat(1024 * 1024) });
    await expect(client(huge).unary(whoAmI, {})).rejects.toThrow();
    const { hostname, port } = new URL(service.httpUrl);
    for (const path of ["/api/v1/access/whoami", "/ota.v1.AccessService/WhoAmI"]) {
      const status = await new Promise((resolve) => {
        const call = request(
          { hostname, port, path, headers: { authorization: `Bearer ${huge}` } },
          (answer) => {
            resolve(answer.statusCode);
            answer.resume();
          },
        );
        call.on("error", (error) => resolve(error.message));
        call.end();
      });
      // Or cut before it was read to its end.
      expect(String(status)).toMatch(/^431$|ECONNRESET|EPIPE/);
    }
    // What a header may hold, and a token not.
    expect(await told(await key.token(id, { padding: "x".repeat(8_000) }))).toEqual(
      atAllDoors("CREDENTIAL_INVALID"),
    );
    expect(await told(await key.token(id))).toEqual(atAllDoors(id));
  });

  it("counts for nothing while its device is blocked, and for good once it is reset or retired", async () => {
    const { id, key } = await device();
    const token = await key.token(id);
    const first = await stream(id, token);
    await operator().unary(blockDevice, { id, reason: "lost" });
    expect(await first.end()).toBe("DEVICE_BLOCKED");
    expect(await told(token)).toEqual(atAllDoors("DEVICE_BLOCKED"));
    // A stranger does not learn that there is such a device.
    expect(await told(await new TestDeviceKey("ed25519").token(id))).toEqual(
      atAllDoors("CREDENTIAL_INVALID"),
    );
    await operator().unary(unblockDevice, { id, reason: "found" });
    expect(await told(token)).toEqual(atAllDoors(id));

    const second = await stream(id, token);
    await operator().unary(resetDeviceCredential, { id, reason: "its key leaked" });
    expect(await second.end()).toBe("CREDENTIAL_REVOKED");
    expect(await told(token)).toEqual(atAllDoors("CREDENTIAL_INVALID"));
    expect(await told(await key.token(id))).toEqual(atAllDoors("CREDENTIAL_INVALID"));

    const retired = await device();
    await operator().unary(retireDevice, { id: retired.id, reason: "scrapped" });
    expect(await told(await retired.key.token(retired.id))).toEqual(atAllDoors("CREDENTIAL_INVALID"));
  });
});

describe("an enrolment with a key", () => {
  const refusedBy = async (asked: object) => await refusal(client().unary(enrol, asked));

  it("takes a proof of the private half, for this device, this request and this key", async () => {
    const key = new TestDeviceKey("ed25519");
    const thief = new TestDeviceKey("ed25519");
    const serialNumber = `k ${randomUUID()}`;
    const requestId = randomUUID();
    const sub = serialNumber;
    const proofs = [
      "",
      "x.y.z",
      await thief.claim(key, { sub, requestId }),
      await key.claim(thief, { sub, requestId }),
      await key.claim(key, { sub: "another", requestId }),
      await key.claim(key, { sub, requestId: randomUUID() }),
      await key.claim(key, { sub, requestId, aud: "another-service" }),
      await key.claim(key, { sub, requestId, cnf: undefined }),
      await key.claim(key, { sub, requestId, cnf: "none" }),
      await key.token(sub, { jti: requestId, cnf: { jkt: key.thumbprint } }),
    ];
    for (const keyProof of proofs) {
      const refused = await refusedBy(await asks(key, { serialNumber, requestId, keyProof }));
      expect(refused, keyProof).toEqual({
        code: "INVALID_ARGUMENT",
        reason: "KEY_PROOF_INVALID",
        fields: ["key_proof"],
      });
    }
    const old = await key.claim(key, { sub, requestId, iat: 5, exp: 305 });
    expect((await refusedBy(await asks(key, { serialNumber, requestId, keyProof: old }))).reason).toBe(
      "TOKEN_TIME_WRONG",
    );
    const { device: enrolled } = await client().unary(enrol, await asks(key, { serialNumber, requestId }));
    expect(enrolled?.serialNumber).toBe(serialNumber);
  });

  it("takes Ed25519 and P-256, and no private key", async () => {
    const { generateKeyPairSync } = await import("node:crypto");
    const key = new TestDeviceKey("ed25519");
    const pem = (name: "rsa" | "ed448" | "x25519") => {
      const pair =
        name === "rsa"
          ? generateKeyPairSync("rsa", { modulusLength: 1024 })
          : generateKeyPairSync(name as "ed448");
      return pair.publicKey.export({ format: "pem", type: "spki" }).toString();
    };
    const curve = generateKeyPairSync("ec", { namedCurve: "secp384r1" }).publicKey;
    const wrong = [
      key.privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
      JSON.stringify(key.privateKey.export({ format: "jwk" })),
      pem("rsa"),
      pem("ed448"),
      pem("x25519"),
      curve.export({ format: "pem", type: "spki" }).toString(),
      JSON.stringify({ kty: "oct", k: "c2VjcmV0" }),
      JSON.stringify({ kty: "EC", crv: "P-256", x: "AAAA", y: "AAAA" }),
      "{",
      "null",
      "key",
    ];
    for (const publicKey of wrong) {
      const refused = await refusedBy(await asks(key, { publicKey }));
      expect(refused, publicKey).toMatchObject({ reason: "INVALID_REQUEST", fields: ["public_key"] });
    }
  });

  it("is repeated by the same key alone", async () => {
    const key = new TestDeviceKey("ed25519");
    const asked = await asks(key);
    const { device: enrolled } = await client().unary(enrol, asked);
    const id = enrolled?.id ?? "";
    const { serialNumber, requestId } = asked;
    // With a proof that is made anew, and in another form.
    const again = await client().unary(
      enrol,
      await asks(key, { serialNumber, requestId, publicKey: key.jwk }),
    );
    expect(again).toMatchObject({ deviceToken: "", device: { id } });
    expect(await told(await key.token(id))).toEqual(atAllDoors(id));
    const other = new TestDeviceKey("ed25519");
    expect((await refusedBy(await asks(other, { serialNumber, requestId }))).reason).toBe(
      "REQUEST_ID_REUSED",
    );
    const bare = { ...asked, publicKey: "", keyProof: "" };
    expect((await refusedBy(bare)).reason).toBe("REQUEST_ID_REUSED");
    expect(await told(await key.token(id))).toEqual(atAllDoors(id));
  });
});

describe("a device's key", () => {
  /** What a device sends to have `next` instead of its key. */
  async function replacement(id: string, next: TestDeviceKey, key?: TestDeviceKey, requestId = randomUUID()) {
    return {
      requestId,
      publicKey: next.pem,
      keyProof: await next.claim(next, { sub: id, requestId }),
      consent: key === undefined ? "" : await key.claim(next, { sub: id, requestId }),
    };
  }

  it("is replaced with the consent of the one before, which counts no more, and a replay changes nothing", async () => {
    const { id, key } = await device();
    const next = new TestDeviceKey("p256");
    const open = await stream(id, await key.token(id));
    const asked = await replacement(id, next, key);
    expect(await client(await key.token(id)).unary(replaceDeviceKey, asked)).toMatchObject({
      keyThumbprint: next.thumbprint,
    });
    expect(await open.end()).toBe("CREDENTIAL_REVOKED");
    expect(await told(await key.token(id))).toEqual(atAllDoors("CREDENTIAL_INVALID"));
    expect(await told(await next.token(id))).toEqual(atAllDoors(id));

    const back = await replacement(id, key, next);
    await client(await next.token(id)).unary(replaceDeviceKey, back);
    // Who listened sends what the device sent before, by a token of the key that counts.
    await client(await key.token(id)).unary(replaceDeviceKey, asked);
    expect(await told(await key.token(id))).toEqual(atAllDoors(id));
    const { events } = await operator().unary(listAuditEvents, {
      resourceId: id,
      action: "device.replace_key",
    });
    expect(events.map(({ details }) => [details["from_thumbprint"], details["to_thumbprint"]])).toEqual([
      [next.thumbprint, key.thumbprint],
      [key.thumbprint, next.thumbprint],
    ]);
  });

  it("is not replaced by who has one of its JWTs, nor without a proof", async () => {
    const { id, key } = await device();
    const { id: other, key: otherKey } = await device();
    const thief = new TestDeviceKey("ed25519");
    const stolen = await key.token(id);
    const requestId = randomUUID();
    const asked = await replacement(id, thief, key, requestId);
    const mine = await thief.claim(thief, { sub: id, requestId });
    const wrong = [
      [{ ...asked, consent: "" }, "INVALID_REQUEST", "consent"],
      [{ ...asked, consent: stolen }, "KEY_PROOF_INVALID", "consent"],
      [{ ...asked, consent: mine }, "KEY_PROOF_INVALID", "consent"],
      [
        { ...asked, consent: await otherKey.claim(thief, { sub: id, requestId }) },
        "KEY_PROOF_INVALID",
        "consent",
      ],
      [
        { ...asked, consent: await key.claim(otherKey, { sub: id, requestId }) },
        "KEY_PROOF_INVALID",
        "consent",
      ],
      [
        { ...asked, consent: await key.claim(thief, { sub: id, requestId: randomUUID() }) },
        "KEY_PROOF_INVALID",
        "consent",
      ],
      [
        { ...asked, consent: await key.claim(thief, { sub: other, requestId }) },
        "KEY_PROOF_INVALID",
        "consent",
      ],
      [{ ...asked, keyProof: stolen }, "KEY_PROOF_INVALID", "key_proof"],
      [{ ...asked, keyProof: asked.consent }, "KEY_PROOF_INVALID", "key_proof"],
    ] as const;
    for (const [request, reason, field] of wrong) {
      const refused = await refusal(client(stolen).unary(replaceDeviceKey, request));
      expect(refused).toMatchObject({ reason, fields: [field] });
    }
    expect(await told(await key.token(id))).toEqual(atAllDoors(id));
    expect(await told(await thief.token(id))).toEqual(atAllDoors("CREDENTIAL_INVALID"));
  });

  it("takes the place of a token, for good", async () => {
    const { id, token } = await enrolDevice(service);
    const key = new TestDeviceKey("ed25519");
    await client(token).unary(replaceDeviceKey, await replacement(id, key));
    expect(await told(await key.token(id))).toEqual(atAllDoors(id));
    expect(await told(token)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
  });
});

describe("a device's token", () => {
  const rotate = async (token: string) => (await client(token).unary(rotateDeviceToken, {})).deviceToken;

  it("works until the next one is used, and not a moment longer", async () => {
    const { id, token } = await enrolDevice(service);
    const lost = await rotate(token);
    const next = await rotate(token);
    expect(await told(token)).toEqual(atAllDoors(id));
    // Of several the newest counts.
    expect(await told(lost)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
    expect(await told(token)).toEqual(atAllDoors(id));
    expect(await told(next)).toEqual(atAllDoors(id));
    expect(await told(token)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
    expect(await told(await rotate(next))).toEqual(atAllDoors(id));
    expect(await told(next)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
  });

  it("is rotated by many calls at once to one", async () => {
    const { id, token } = await enrolDevice(service);
    const all = await Promise.all(Array.from({ length: 8 }, () => rotate(token)));
    const outcomes = [];
    for (const each of all) outcomes.push((await told(each))[0]);
    expect(outcomes.filter((outcome) => outcome === id)).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "CREDENTIAL_REVOKED")).toHaveLength(7);
  });

  it("and the next one are out once the device is blocked, reset or retired", async () => {
    const { id, token } = await enrolDevice(service);
    const next = await rotate(token);
    await operator().unary(blockDevice, { id, reason: "lost" });
    expect(await told(next)).toEqual(atAllDoors("DEVICE_BLOCKED"));
    expect((await refusal(rotate(token))).reason).toBe("DEVICE_BLOCKED");
    await operator().unary(unblockDevice, { id, reason: "found" });
    expect(await told(token)).toEqual(atAllDoors(id));
    await operator().unary(resetDeviceCredential, { id, reason: "stolen" });
    expect(await told(next)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
    expect(await told(token)).toEqual(atAllDoors("CREDENTIAL_REVOKED"));
  });

  it("is not had by a device with a key of its own", async () => {
    const { id, key } = await device();
    expect(await refusal(rotate(await key.token(id)))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "NO_TOKEN",
    });
  });
});

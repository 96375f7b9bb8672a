import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { mintToken, newContent, publish, refusal } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** An administrator who passes a token off for another one, or locks everybody out. */

const { createToken, createEnrolmentKey, revokeToken, listTokens, whoAmI } = AccessService.method;

let service: TestService;
let admin: RpcClient;

beforeAll(async () => {
  service = await startTestService();
  admin = service.client();
});

afterAll(() => service[Symbol.asyncDispose]());

function create(name: string, role = Role.VIEWER) {
  return admin.unary(createToken, { name, role });
}

describe("a token's name", () => {
  it.each([
    ["a line break", "eve\nroot"],
    ["a terminal's escape", "eve\u001b[2Kroot"],
    ["text that runs backwards", "eve\u202etoor"],
    ["something invisible", "ro\u200bot"],
    ["a blank at its end", "root "],
    ["another blank than the blank", "ro\u00a0ot"],
  ])("cannot hold %s", async (_, name) => {
    const refused = { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST", fields: ["name"] };
    expect(await refusal(create(name))).toEqual(refused);
    expect(await refusal(admin.unary(createEnrolmentKey, { name }))).toEqual(refused);
  });

  it("cannot be that of another token that works, and can be once that one is revoked", async () => {
    const { token } = await create("Zoë of línea 3");
    for (const name of ["Zoë of línea 3", "ZOË OF LÍNEA 3"]) {
      expect(await refusal(create(name))).toMatchObject({ code: "ALREADY_EXISTS", reason: "DUPLICATE" });
    }
    await admin.unary(revokeToken, { id: token?.id ?? "" });
    await create("Zoë of línea 3");
  });

  it("is given once, however many ask for it at the same time", async () => {
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => create("one of eight")));
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("the last administrator", () => {
  it("cannot be revoked, also by another one who is revoked at the same time", async () => {
    const { tokens } = await admin.unary(listTokens, {});
    const first = tokens.find(({ role }) => role === Role.ADMIN)?.id ?? "";
    expect(await refusal(admin.unary(revokeToken, { id: first }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "LAST_ADMINISTRATOR",
    });
    const second = await mintToken(service, Role.ADMIN);
    const other = service.client(second.secret);
    const revocations = await Promise.allSettled([
      admin.unary(revokeToken, { id: second.id }),
      other.unary(revokeToken, { id: first }),
    ]);
    const done = revocations.findIndex(({ status }) => status === "fulfilled");
    expect(revocations.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const left = done === 0 ? admin : other;
    expect(await left.unary(whoAmI, {})).toMatchObject({ role: Role.ADMIN });
  });
});

describe("four eyes", () => {
  const { createRollout, startRollout, approveRollout } = RolloutService.method;

  /** A token of that name, created with another one. */
  async function tokenOf(
    name: string,
    creator: RpcClient,
    role = Role.ADMIN,
    owner = "",
  ): Promise<RpcClient> {
    const { secret } = await creator.unary(createToken, { name, role, owner });
    return service.client(secret);
  }

  /** A rollout of that creator whose only ring waits for an approval. */
  async function waiting(creator: RpcClient): Promise<string> {
    const { id: firmwareId } = await publish(service, newContent(100));
    const rings = [{ name: "all", percent: 100, gate: { requireApproval: true } }];
    const { rollout } = await creator.unary(createRollout, { firmwareId, rings });
    const id = rollout?.id ?? "";
    await creator.unary(startRollout, { id });
    return id;
  }

  const refused = { code: "PERMISSION_DENIED", reason: "FOUR_EYES" };

  it("are not those of an administrator and of tokens that the administrator made, nor the other way round", async () => {
    const alice = await tokenOf("alice", admin);
    const bob = await tokenOf("bob", alice);
    const mallory = await tokenOf("mallory", bob, Role.OPERATOR);
    const carol = await tokenOf("carol", admin, Role.OPERATOR);

    const ofAlice = await waiting(alice);
    for (const approver of [alice, bob, mallory, admin]) {
      expect(await refusal(approver.unary(approveRollout, { id: ofAlice }))).toMatchObject(refused);
    }
    const ofMallory = await waiting(mallory);
    for (const approver of [mallory, bob, alice, admin]) {
      expect(await refusal(approver.unary(approveRollout, { id: ofMallory }))).toMatchObject(refused);
    }
    for (const id of [ofAlice, ofMallory]) {
      const { rollout } = await carol.unary(approveRollout, { id });
      expect(rollout?.state).toBe(RolloutState.RUNNING);
    }
  });

  it("are not those of two tokens of one owner, nor of whoever made a token of that owner", async () => {
    const desk = await tokenOf("erin at her desk", admin, Role.ADMIN, "erin@example.com");
    const pager = await tokenOf("erin on call", admin, Role.OPERATOR, "Erin@Example.com");
    // Named after the owner: so may somebody be who signs in without a token.
    const bare = await tokenOf("ERIN@example.com", admin, Role.OPERATOR);
    const frank = await tokenOf("frank", desk, Role.OPERATOR, "frank@example.com");
    const gwen = await tokenOf("gwen", admin, Role.OPERATOR, "gwen@example.com");

    const ofPager = await waiting(pager);
    for (const approver of [desk, bare, frank]) {
      expect(await refusal(approver.unary(approveRollout, { id: ofPager }))).toMatchObject(refused);
    }
    await expect(desk.unary(approveRollout, { id: ofPager })).rejects.toThrow(
      /operator:erin at her desk and operator:erin on call have the same owner/,
    );
    const { rollout } = await gwen.unary(approveRollout, { id: ofPager });
    expect(rollout?.state).toBe(RolloutState.RUNNING);
    const ofFrank = await waiting(frank);
    for (const approver of [pager, bare]) {
      expect(await refusal(approver.unary(approveRollout, { id: ofFrank }))).toMatchObject(refused);
    }
  });

  it("say why two tokens are one person", async () => {
    const dora = await tokenOf("dora", admin);
    const id = await waiting(admin);
    await expect(dora.unary(approveRollout, { id })).rejects.toThrow(
      /another person must approve it: .* operator:dora was created by operator:DEVICE_OTA_ADMIN_TOKEN/,
    );
  });
});

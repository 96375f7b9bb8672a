import { randomBytes } from "node:crypto";
import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { generateSigningKey, signManifest } from "../../src/manifest/signature.ts";
import { startTestService } from "../support/service.ts";
import { createFirmware, uploadMessages } from "../support/streaming-device.ts";

const { method } = RolloutService;

/** Every verb as a call; the answers are alike. */
const verbs = {
  start: (rpc: RpcClient, id: string) => rpc.unary(method.startRollout, { id }),
  promote: (rpc: RpcClient, id: string) => rpc.unary(method.promoteRollout, { id }),
  pause: (rpc: RpcClient, id: string) => rpc.unary(method.pauseRollout, { id }),
  resume: (rpc: RpcClient, id: string) => rpc.unary(method.resumeRollout, { id }),
  rollback: (rpc: RpcClient, id: string) => rpc.unary(method.rollbackRollout, { id }),
  abort: (rpc: RpcClient, id: string) => rpc.unary(method.abortRollout, { id }),
};

type Verb = keyof typeof verbs;

/** What each state refuses; verbs whose effect is in force already are answered, not refused. */
const refused: Readonly<Record<string, { readonly allowed: string; readonly verbs: readonly Verb[] }>> = {
  DRAFT: { allowed: "start,abort", verbs: ["promote", "pause", "resume", "rollback"] },
  PAUSED: { allowed: "resume,rollback,abort", verbs: ["start", "promote"] },
  ABORTED: { allowed: "", verbs: ["start", "promote", "pause", "resume", "rollback"] },
};

it("pauses, resumes and aborts on demand, and refuses with the state and what it allows", async () => {
  await using service = await startTestService();
  const rpc = service.client();
  const firmwareId = await releasedFirmware(rpc);
  const { rollout: draft } = await rpc.unary(RolloutService.method.createRollout, { firmwareId });
  const id = draft?.id ?? "";
  const stateAfter = async (verb: Verb) => (await verbs[verb](rpc, id)).rollout?.state;
  const expectRefusals = async (state: keyof typeof refused) => {
    const { allowed = "", verbs: illegal = [] } = refused[state] ?? {};
    for (const verb of illegal) {
      await expect(verbs[verb](rpc, id)).rejects.toMatchObject({
        code: status.FAILED_PRECONDITION,
        reason: "ILLEGAL_TRANSITION",
        metadata: { resource: "rollout", verb, state, allowed },
      });
    }
  };

  await expectRefusals("DRAFT");
  expect(await stateAfter("start")).toBe(RolloutState.RUNNING);
  expect(await stateAfter("pause")).toBe(RolloutState.PAUSED);
  expect(await stateAfter("pause")).toBe(RolloutState.PAUSED);
  await expectRefusals("PAUSED");
  expect(await stateAfter("resume")).toBe(RolloutState.RUNNING);
  expect(await stateAfter("promote")).toBe(RolloutState.RUNNING);
  expect(await stateAfter("abort")).toBe(RolloutState.ABORTED);
  await expectRefusals("ABORTED");
  expect(await stateAfter("abort")).toBe(RolloutState.ABORTED);

  // Every step that was taken is in the audit log once; neither refusals nor repeats are. What the service notes of itself,
  // as that a rollout waits for devices, stands between them.
  const { events } = await rpc.unary(AccessService.method.listAuditEvents, { resourceId: id, pageSize: 50 });
  const [bySystem = [], byPeople = []] = [true, false].map((isSystem) =>
    events.filter(({ actor }) => actor.startsWith("system:") === isSystem),
  );
  expect(bySystem.filter(({ action }) => action !== "rollout.stuck")).toEqual([]);
  expect(byPeople.map(({ action }) => action).reverse()).toEqual(
    ["create", "start", "pause", "resume", "promote", "abort"].map((verb) => `rollout.${verb}`),
  );
});

async function releasedFirmware(rpc: RpcClient): Promise<string> {
  const content = randomBytes(1_000);
  const { privateKeyPem, publicKeyPem, keyId } = generateSigningKey();
  await rpc.unary(AccessService.method.registerSigningKey, { name: "release", publicKeyPem });
  const { id } = await createFirmware(rpc, { product: "app", version: "1.1.0", content });
  await rpc.clientStream(FirmwareService.method.uploadFirmware, messagesOf(id, content));
  const { manifest } = await rpc.unary(FirmwareService.method.getFirmwareManifest, { id });
  const signature = signManifest(privateKeyPem, manifest);
  await rpc.unary(FirmwareService.method.signFirmware, { id, manifest, keyId, signature });
  return id;
}

async function* messagesOf(id: string, content: Uint8Array) {
  yield* uploadMessages(id, content);
}

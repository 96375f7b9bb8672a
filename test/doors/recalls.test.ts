import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason } from "../../gen/ota/v1/update_service_pb.js";
import {
  connectClient,
  type HttpAnswer,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { runCli } from "../support/run-cli.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Versions that no device may run any more: recalled, seen and reinstated through every door, by devices that ask. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ settings: { DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off" } });
});
afterAll(() => service[Symbol.asyncDispose]());

function post(path: string, body: object = {}): Promise<HttpAnswer> {
  return http(service, "POST", `/api/v1${path}`, { token: service.adminToken, body });
}

async function version(product: string, text: string): Promise<string> {
  return (await publish(service, newContent(100), { product, version: text })).id;
}

async function device(product: string, running: string): Promise<PolledDevice> {
  const enrolled = await PolledDevice.enrol(service.client(), service.enrolmentKey, running);
  await enrolled.joinGroup(service.client(), product);
  await enrolled.beat(service);
  return enrolled;
}

it("a recall reaches a device by its update check, and the record says who, when and why", async () => {
  const product = "recalled-os";
  const [bad, good] = [await version(product, "2.0.0"), await version(product, "2.0.1")];
  const runs = await device(product, "2.0.0");
  const { rollout } = (await post(`/firmware/${bad}/deploy`)).body;

  const preview = await eventually(async () => {
    const answer = await post(`/firmware/${bad}:previewRecall`, { replacementId: good });
    expect(answer.body).toMatchObject({ runningCount: "1", readyCount: "1", rolloutCount: "1" });
    return answer;
  });
  expect(preview.status).toBe(200);

  const { body } = await post(`/firmware/${bad}:recall`, { replacementId: good, reason: "it burns" });
  expect(body).toMatchObject({
    recall: {
      product,
      version: "2.0.0",
      firmwareId: bad,
      replacementId: good,
      replacementVersion: "2.0.1",
      reason: "it burns",
    },
    effect: { unchanged: false, pausedRolloutCount: "1" },
  });
  expect(body.recall.actor).toMatch(/^operator:/);
  const { firmware } = await service.client().unary(FirmwareService.method.getFirmware, { id: bad });
  expect(firmware?.recall).toMatchObject({ reason: "it burns", rolloutId: body.recall.rolloutId });

  const paused = await service.client().unary(RolloutService.method.getRollout, { id: rollout.id });
  expect(paused.rollout).toMatchObject({
    state: RolloutState.PAUSED,
    alert: "it brings what no device may run: 2.0.0 is recalled: it burns",
  });
  const wayOut = await service
    .client()
    .unary(RolloutService.method.getRollout, { id: body.recall.rolloutId });
  expect(wayOut.rollout).toMatchObject({ recalledVersion: "2.0.0", version: "2.0.1" });

  expect(await runs.expectOffer(service)).toMatchObject({ version: "2.0.1" });
  await runs.update(service);
  const audit = await http(service, "GET", `/api/v1/audit?resourceId=${bad}`, {
    token: service.adminToken,
  });
  expect(audit.body.events).toEqual(
    expect.arrayContaining([expect.objectContaining({ action: "firmware.recall", reason: "it burns" })]),
  );
});

it("a version that is not in the catalogue is recalled by its text, over Connect as well", async () => {
  const product = "factory-os";
  const good = await version(product, "1.0.0");
  const runs = await device(product, "factory-image-7");
  const client = connectClient(service, FirmwareService, service.adminToken);
  const recall = { product, version: "factory-image-7", replacementId: good };
  const { recall: made } = await client.recallFirmware(recall);
  expect(made).toMatchObject({ firmwareId: "", version: "factory-image-7" });
  expect((await client.recallFirmware(recall)).effect).toMatchObject({ unchanged: true });
  const listed = await http(service, "GET", `/api/v1/recalls?product=${product}`, {
    token: service.adminToken,
  });
  expect(listed.body.recalls).toMatchObject([{ id: made?.id, version: "factory-image-7" }]);
  expect((await runs.expectOffer(service)).version).toBe("1.0.0");
  const { body } = await post("/firmware:reinstate", { product, version: "factory-image-7" });
  expect(body.effect).toMatchObject({ unchanged: false, cancelledCount: "1" });
  expect((await runs.check(service)).noOfferReason).toBe(NoOfferReason.VERSION_UNKNOWN);
  expect((await client.reinstateFirmware({ product, version: "factory-image-7" })).effect).toMatchObject({
    unchanged: true,
  });
});

it("what cannot be is refused with its reason, and who may not has no say", async () => {
  const product = "refused-os";
  const [a, b] = [await version(product, "1.0.0"), await version(product, "1.1.0")];
  const other = await version("another-os", "1.0.0");
  const rpc = service.client();
  const recall = (request: object) => refusal(rpc.unary(FirmwareService.method.recallFirmware, request));
  const unfit = { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST", fields: ["replacement_id"] };
  expect(await recall({ id: a, replacementId: a })).toEqual(unfit);
  expect(await recall({ id: a, replacementId: other })).toEqual(unfit);
  expect(await recall({ replacementId: b })).toMatchObject({ reason: "INVALID_REQUEST" });
  expect(
    await recall({ id: a, replacementId: b, policy: { startTime: { seconds: 1n, nanos: 0 } } }),
  ).toMatchObject({ fields: ["policy.start_time"] });
  await rpc.unary(FirmwareService.method.recallFirmware, { id: a, replacementId: b });
  expect(await recall({ id: b, replacementId: a })).toMatchObject({
    code: "FAILED_PRECONDITION",
    reason: "FIRMWARE_RECALLED",
  });
  expect(httpRefusal(await post(`/firmware/${a}/deploy`))).toMatchObject({ reason: "FIRMWARE_RECALLED" });
  const viewer = { name: "viewer of recalls", role: Role.VIEWER };
  const { secret } = await rpc.unary(AccessService.method.createToken, viewer);
  const looks = connectClient(service, FirmwareService, secret);
  expect((await looks.listRecalls({ product })).recalls).toHaveLength(1);
  expect(await refusal(looks.reinstateFirmware({ id: a }))).toMatchObject({ reason: "ROLE_REQUIRED" });
});

it("the command line previews, recalls, lists and reinstates", async () => {
  const product = "typed-os";
  await version(product, "1.0.0");
  await version(product, "1.1.0");
  const run = (...args: string[]) =>
    runCli(args, {
      cwd: tmpdir(),
      env: { DEVICE_OTA_SERVER: service.grpcAddress, DEVICE_OTA_TOKEN: service.adminToken },
    });
  const recall = ["firmware", "recall", `${product}@1.0.0`, "--replacement", `${product}@1.1.0`];
  const preview = await run(...recall, "--preview");
  expect(preview.stdout).toContain("cannot leave");
  const made = await run(...recall, "--reason", "it burns", "--user-consent");
  expect(made).toMatchObject({ exitCode: 0 });
  expect(made.stdout).toContain("replacement");
  expect(made.stderr).toContain(
    `Version 1.0.0 of ${product} is recalled, and whoever runs it is offered 1.1.0.`,
  );
  expect((await run("firmware", "show", `${product}@1.0.0`)).stdout).toContain("it burns");
  expect((await run("firmware", "recalls", "--product", product)).stdout).toContain("it burns");
  const back = await run("firmware", "reinstate", `${product}@1.0.0`);
  expect(back.stdout).toContain(`Version 1.0.0 of ${product} is reinstated.`);
  expect((await run("firmware", "recalls", "--product", product)).stdout).toContain(
    "No version is recalled.",
  );
});

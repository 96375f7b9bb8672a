import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { DeviceAgent } from "../../src/agent/device-agent.ts";
import { MemoryDeviceStorage } from "../../src/agent/device-storage.ts";
import { trustIn } from "../../src/agent/offer-check.ts";
import { simulatedCrash } from "../../src/agent/simulated-crash.ts";
import { SimulatedSensors } from "../../src/agent/simulated-sensors.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import { silent } from "../heartbeat/heartbeat-fixture.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService } from "../support/service.ts";

it("an agent uploads the end of a log and reports the crash with it", async () => {
  await using service = await startTestService();
  const sensors = new SimulatedSensors(Math.random);
  sensors.boot();
  await using agent = new DeviceAgent({
    address: service.grpcAddress,
    enrolment: { enrolmentKey: service.enrolmentKey, serialNumber: "SN-CRASH", metadata: {} },
    deviceType: "thermostat",
    hardwareModel: "tx-200",
    storage: new MemoryDeviceStorage(join(tmpdir(), "unused-download")),
    sensors,
    installer: {
      running: () => Promise.resolve({ version: "1.4.0" }),
      install: () => Promise.resolve(),
      reboot: () => Promise.resolve(),
    },
    trust: trustIn([generateSigningKey().publicKeyPem]),
    logger: silent,
    clock: systemClock,
  });
  await agent.start();
  const end = "here it crashed\n";
  const crashLogId = await agent.uploadCrashLog("filler\n".repeat(200_000) + end);
  agent.report({ ...simulatedCrash("1.4.0", Math.random), crashLogId });

  const client = service.client();
  const [occurrence] = await eventually(async () => {
    const { occurrences } = await client.unary(ErrorService.method.listErrorOccurrences, {
      deviceId: agent.deviceId,
    });
    expect(occurrences).toHaveLength(1);
    return occurrences;
  });
  expect(occurrence?.report?.crashLogId).toBe(crashLogId);
  expect(occurrence?.report?.context["build"]).toBe("1.4.0");
  const parts: Uint8Array[] = [];
  for await (const { data } of client.serverStream(ErrorService.method.downloadCrashLog, {
    id: crashLogId,
  })) {
    parts.push(data);
  }
  const log = Buffer.concat(parts);
  expect(log.length).toBe(1024 * 1024);
  expect(log.toString().endsWith(end)).toBe(true);
});

import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import { LinuxSensors } from "./linux-sensors.ts";

const boot = {
  "proc/sys/kernel/random/boot_id": "3f1c\n",
  "proc/uptime": "120.50 200.00\n",
};

test("reads battery, load, memory, temperature and network of a device", async () => {
  await using root = await laidOut({
    ...boot,
    "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n",
    "proc/meminfo": "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:   250 kB\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/capacity": "83\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "1\n",
    "sys/class/thermal/thermal_zone0/temp": "41500\n",
    "sys/class/thermal/thermal_zone1/temp": "52000\n",
    "sys/class/thermal/cooling_device0/type": "fan\n",
    "proc/net/route": "Iface\tDestination\tGateway\nwlan0\t00000000\t0102A8C0\n",
    "sys/class/net/wlan0/phy80211/name": "phy0\n",
  });
  const sensors = await LinuxSensors.open({ root: root.path, storageFolder: root.path });
  expect(sensors.bootId).toBe("3f1c");
  expect(sensors.uptimeMs()).toBeGreaterThanOrEqual(120_500);
  const reading = await sensors.read();
  expect(reading).toMatchObject({
    batteryPercent: 83,
    charging: true,
    memoryPercent: 75,
    temperatureCelsius: 52,
    network: { type: NetworkType.WIFI },
  });
  expect(reading.cpuPercent).toBeCloseTo(20);
  expect(reading.storageFreeBytes).toBeGreaterThan(0n);
  await writeFile(join(root.path, "proc/stat"), "cpu  190 0 100 700 110 0 0 0 0 0\n");
  expect((await sensors.read()).cpuPercent).toBeCloseTo(90);
});

test("leaves out what the machine does not have", async () => {
  await using root = await laidOut(boot);
  const sensors = await LinuxSensors.open({ root: root.path, storageFolder: join(root.path, "none") });
  expect(await sensors.read()).toEqual({});
});

async function laidOut(files: Readonly<Record<string, string>>) {
  const root = await mkdtempDisposable(join(tmpdir(), "device-ota-sensors-"));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root.path, path)), { recursive: true });
    await writeFile(join(root.path, path), content);
  }
  return root;
}

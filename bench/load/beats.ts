/** The n-th heartbeat of a simulated device, with the fields that a battery-powered device on Wi-Fi fills in. */
export function beatAt(sequence: number) {
  return {
    firmwareVersion: "1.0.0",
    bootId: "5f0c2b1e-7d3a-4c55-9a54-0b1c2d3e4f50",
    batteryPercent: 40 + (sequence % 60),
    charging: sequence % 7 === 0,
    cpuPercent: sequence % 100,
    memoryPercent: 30 + (sequence % 50),
    storageFreeBytes: BigInt(1_000_000_000 + sequence),
    temperatureCelsius: 20 + (sequence % 30),
    location: {
      latitude: 52.5 + (sequence % 1000) / 10_000,
      longitude: 13.4 + (sequence % 1000) / 10_000,
      accuracyMeters: 5,
    },
    network: { type: 2, signalDbm: -40 - (sequence % 50) },
  };
}

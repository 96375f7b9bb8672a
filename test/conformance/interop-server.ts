// The program that the interop clients of gRPC test: our pipeline and gRPC door with their service on them. Writes the port, and ends with
// SIGTERM. The clients need `--server_host=127.0.0.1 --server_port=PORT`.
//
// Usage: node test/conformance/interop-server.ts

import { once } from "node:events";
import { openDoors } from "../api/doors.ts";
import { Arrivals } from "./arrivals.ts";
import { TestService } from "./gen/grpc/testing/test_pb.js";
import { interopEndpoints } from "./interop-service.ts";
import { SuitePipeline } from "./suite-pipeline.ts";

new Arrivals("viewer");
await using doors = await openDoors({
  services: [TestService],
  endpoints: interopEndpoints(),
  Pipeline: SuitePipeline,
});
process.stdout.write(`${new URL(`http://${doors.grpcAddress}`).port}\n`);
await once(process, "SIGTERM");

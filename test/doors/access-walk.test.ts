import type { DescMethod } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import type { AccessRule, Endpoint } from "../../src/api/pipeline/endpoint.ts";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { walkAccess } from "../api/access-walk.ts";
import { enrolDevice, mintToken } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

const viewer = { role: "viewer" } as const;
const operator = { role: "operator" } as const;
const admin = { role: "admin" } as const;
const device = { device: true } as const;
const viewerOrDevice = { ...viewer, ...device } as const;

/** Who may call what, as the comments of the contract say; written down a second time so that no rule loosens unseen. */
const contract: Readonly<Record<string, Readonly<Record<string, AccessRule<unknown>>>>> = {
  "ota.v1.AccessService": {
    WhoAmI: viewerOrDevice,
    CreateToken: admin,
    ListTokens: admin,
    RevokeToken: admin,
    CreateEnrolmentKey: admin,
    ListEnrolmentKeys: admin,
    RevokeEnrolmentKey: admin,
    RegisterSigningKey: admin,
    ListSigningKeys: viewer,
    RevokeSigningKey: admin,
    ListAuditEvents: viewer,
    ListSettings: viewer,
  },
  "ota.v1.DeviceService": {
    EnrolDevice: { public: true },
    RegisterDevice: operator,
    GetDevice: viewerOrDevice,
    ListDevices: viewer,
    UpdateDevice: operator,
    RetireDevice: operator,
    ResetDeviceCredential: operator,
    ReinstateDevice: operator,
    BlockDevice: operator,
    UnblockDevice: operator,
    QuarantineDevice: operator,
    ApproveDevice: operator,
    CountDevices: viewer,
    BatchUpdateDevices: operator,
    CreateSavedFilter: operator,
    ListSavedFilters: viewer,
    ListDeviceTypes: viewer,
    UpdateDeviceType: operator,
    CreateModelAlias: operator,
    ListModelAliases: viewer,
    DeleteModelAlias: operator,
    DeleteSavedFilter: operator,
    GetDeviceStatusOverview: viewer,
    QueryVersionHistory: viewer,
    WatchFleet: viewer,
  },
  "ota.v1.ErrorService": {
    ListErrorGroups: viewer,
    GetErrorGroup: viewer,
    UpdateErrorGroup: operator,
    MergeErrorGroups: operator,
    SplitErrorGroup: operator,
    ListGroupingRules: viewer,
    CreateGroupingRule: operator,
    TryGroupingRule: viewer,
    DeleteGroupingRule: operator,
    UploadSymbolFile: operator,
    ListSymbolFiles: viewer,
    DeleteSymbolFile: operator,
    GetSourceLines: viewer,
    GetErrorTimeline: viewer,
    ListErrorOccurrences: viewer,
    ListErrorGroupDevices: viewer,
    UploadCrashLog: device,
    DownloadCrashLog: viewer,
  },
  "ota.v1.FirmwareService": {
    CreateFirmware: operator,
    UploadFirmware: operator,
    UploadFirmwareChunk: operator,
    GetFirmwareUpload: operator,
    GetFirmware: viewer,
    ListFirmware: viewer,
    UpdateFirmware: operator,
    DeleteFirmware: operator,
    GetFirmwareManifest: operator,
    SignFirmware: operator,
    ReleaseFirmware: operator,
    DeployFirmware: operator,
    RecallFirmware: operator,
    ReinstateFirmware: operator,
    PreviewRecall: viewer,
    ListRecalls: viewer,
  },
  "ota.v1.HeartbeatService": {
    StreamHeartbeats: device,
    SendHeartbeat: device,
    ListHeartbeats: viewerOrDevice,
  },
  "ota.v1.RolloutService": {
    CreateRollout: operator,
    GetRollout: viewer,
    GetRolloutDefaults: viewer,
    ListRollouts: viewer,
    StartRollout: operator,
    PromoteRollout: operator,
    PauseRollout: operator,
    ResumeRollout: operator,
    RollbackRollout: operator,
    AbortRollout: operator,
    ApproveRollout: operator,
    RollbackRing: operator,
    RollbackDevice: operator,
    RetryDevice: operator,
    UpdateRollout: operator,
    ArchiveRollout: operator,
    UnarchiveRollout: operator,
    UpdateDeviceUpdate: operator,
    PreviewRollout: viewer,
    ExplainUpdate: viewer,
    GetRolloutHealth: viewer,
    ListFailureReasons: viewer,
    ListDeviceUpdates: viewer,
    WatchRollout: viewer,
  },
  "ota.v1.TelemetryService": {
    QuerySeries: viewerOrDevice,
    ListMetrics: viewer,
    ExportHeartbeats: viewer,
    GetTrack: viewerOrDevice,
    SearchPositions: viewer,
  },
  "ota.v1.UpdateService": {
    CheckForUpdate: device,
    DownloadFirmware: device,
    ReportUpdateStatus: device,
  },
};

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

it("lets in at every RPC of the contract those whom its comments name, and nobody else", async () => {
  const methods = contractServices.flatMap(({ methods }) => methods);
  const listed = Object.entries(contract).flatMap(([name, rules]) =>
    Object.keys(rules).map((method) => `${name}/${method}`),
  );
  expect(listed.toSorted()).toEqual(
    methods.map(({ name, parent }) => `${parent.typeName}/${name}`).toSorted(),
  );

  const tokens = {
    device: (await enrolDevice(service)).token,
    viewer: (await mintToken(service, Role.VIEWER)).secret,
    operator: (await mintToken(service, Role.OPERATOR)).secret,
    admin: service.adminToken,
  };
  const outcomes = await walkAccess(service.grpcAddress, methods.map(endpointOf), tokens);

  expect(outcomes).toHaveLength(methods.length * 5);
  expect(outcomes.filter(({ expected, actual }) => expected !== actual)).toEqual([]);
});

const kinds = {
  unary: "unary",
  server_streaming: "server_stream",
  client_streaming: "client_stream",
  bidi_streaming: "bidi_stream",
} as const;

/** What the walk has to know of a method. */
function endpointOf(method: DescMethod): Endpoint {
  const access = contract[method.parent.typeName]?.[method.name];
  return {
    method,
    kind: kinds[method.methodKind],
    options: { access, rate: "operator" },
  } as unknown as Endpoint;
}

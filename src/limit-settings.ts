import type { BlockList } from "node:net";
import { integer, rate, type ValuesOf } from "./settings.ts";

/** The settings that bound what callers may take: calls, bytes, connections, and calls that are open at once. */
export const limitSettings = {
  rateHeartbeat: rate(
    "RATE_LIMIT_HEARTBEAT",
    "100/minute",
    "Heartbeat calls and messages a device, per replica; a message with a backlog of 1,000 heartbeats counts once.",
  ),
  rateUpdateCheck: rate("RATE_LIMIT_UPDATE_CHECK", "10/minute", "Update checks a device, per replica."),
  rateEnrol: rate("RATE_LIMIT_ENROL", "600/minute", "Enrolments an address, over all replicas."),
  rateApi: rate(
    "RATE_LIMIT_API",
    "1200/minute",
    "Other calls a token or address, over all replicas, or a device, per replica.",
  ),
  rateDeviceRead: rate(
    "RATE_LIMIT_DEVICE_READ",
    "30/minute",
    "Questions of a device about its own heartbeats, series and track, per replica.",
  ),
  rateDownload: rate(
    "RATE_LIMIT_DOWNLOAD",
    "60/minute",
    "Downloads begun (resumed ones count again) a device, per replica.",
  ),
  rateSignIn: rate(
    "RATE_LIMIT_SIGN_IN",
    "20/minute",
    "Tries to sign in to the console an address, over all replicas.",
  ),
  rateCredential: rate("RATE_LIMIT_CREDENTIAL", "300/minute", "Wrong tokens an address, over all replicas."),
  rateRefusal: rate(
    "RATE_LIMIT_REFUSAL",
    "10/minute",
    "Refused calls that are put on the audit log, a device, token or address, over all replicas; of all together ten times as many.",
  ),
  rateProbe: rate(
    "RATE_LIMIT_PROBE",
    "600/minute",
    "Questions about health and metrics an address, per replica.",
  ),
  ratePage: rate(
    "RATE_LIMIT_PAGE",
    "6000/minute",
    "The console's files, and what there is not, an address, per replica.",
  ),
  rateHeartbeatBytes: rate(
    "RATE_LIMIT_HEARTBEAT_BYTES",
    "67108864/hour",
    "Bytes of heartbeats a device, as they lie in memory, per replica; a device that was quiet may send them at once.",
  ),
  rateShareMs: integer(
    "RATE_LIMIT_SHARE_MS",
    500,
    [0, 60_000],
    "How often replicas tell each other of the calls that they let through; 0: each counts for itself what is counted over all replicas.",
  ),
  rateCrashLog: rate(
    "RATE_LIMIT_CRASH_LOG",
    "20/hour",
    "Crash logs that a device may upload, over all replicas.",
  ),
  maxAttachmentBytes: integer(
    "MAX_ATTACHMENT_BYTES",
    8 * 1024 * 1024,
    [1_024, 256 * 1024 * 1024],
    "The most bytes of a file beside a firmware; two at once are held in memory and read whole.",
  ),
  maxStreams: integer(
    "MAX_STREAMS",
    20_000,
    [1, 1_000_000],
    "The most heartbeat streams open at once, per replica.",
  ),
  maxStreamsPerDevice: integer(
    "MAX_STREAMS_PER_DEVICE",
    4,
    [2, 1_000],
    "The most heartbeat streams of one device, with those that nobody has noticed yet to be dead.",
  ),
  updateCheckWaitSeconds: integer(
    "UPDATE_CHECK_WAIT_SECONDS",
    55,
    [0, 3_600],
    "The longest that an update check may wait for an offer, where five quarters of the heartbeat interval are not less; 0: none waits.",
  ),
  maxWaitingChecks: integer(
    "MAX_WAITING_CHECKS",
    10_000,
    [1, 1_000_000],
    "The most update checks that wait at once, one of each device, per replica; the others are answered at once.",
  ),
  maxWaitingChecksPerAddress: integer(
    "MAX_WAITING_CHECKS_PER_ADDRESS",
    2_000,
    [1, 1_000_000],
    "The same of one address that is no trusted proxy.",
  ),
  maxDownloads: integer(
    "MAX_DOWNLOADS",
    5_000,
    [1, 1_000_000],
    "The most downloads of firmware under way at once, over all doors, per replica.",
  ),
  maxDownloadsPerDevice: integer("MAX_DOWNLOADS_PER_DEVICE", 4, [1, 1_000], "The same of one device."),
  maxCrashLogs: integer(
    "MAX_CRASH_LOG_UPLOADS",
    64,
    [1, 10_000],
    "The most crash logs on their way in at once, with some 2 MiB of memory each, per replica.",
  ),
  maxCrashLogsPerDevice: integer("MAX_CRASH_LOG_UPLOADS_PER_DEVICE", 4, [1, 100], "The same of one device."),
  maxOperatorStreams: integer(
    "MAX_OPERATOR_STREAMS",
    2_000,
    [1, 1_000_000],
    "The most streams of operators open at once (watches, uploads, exports), over all doors, per replica.",
  ),
  maxStreamsPerToken: integer("MAX_STREAMS_PER_TOKEN", 64, [1, 100_000], "The same of one operator's token."),
  maxOperatorStreamsPerAddress: integer(
    "MAX_OPERATOR_STREAMS_PER_ADDRESS",
    512,
    [1, 1_000_000],
    "The same of one address that is no trusted proxy.",
  ),
  maxAnonymousStreams: integer(
    "MAX_ANONYMOUS_STREAMS",
    256,
    [1, 100_000],
    "The most streams open at once that need no credential (gRPC's watch of health, reflection), per replica.",
  ),
  maxAnonymousStreamsPerAddress: integer(
    "MAX_ANONYMOUS_STREAMS_PER_ADDRESS",
    16,
    [1, 100_000],
    "The same of one address.",
  ),
  requestTimeoutSeconds: integer(
    "REQUEST_TIMEOUT_SECONDS",
    120,
    [1, 3_600],
    "How long the single message of a call may take to arrive as a whole.",
  ),
  pendingRequestBytes: integer(
    "PENDING_REQUEST_BYTES",
    256 * 1024 * 1024,
    [4 * 1024 * 1024, 1024 ** 4],
    "The most memory that requests may hold that have not arrived as a whole, per replica.",
  ),
  pendingRequestBytesPerCaller: integer(
    "PENDING_REQUEST_BYTES_PER_CALLER",
    16 * 1024 * 1024,
    [4 * 1024 * 1024, 1024 ** 4],
    "The same of one device, token or, without a credential, address.",
  ),
  answerTimeoutSeconds: integer(
    "ANSWER_TIMEOUT_SECONDS",
    120,
    [1, 3_600],
    "How long the answer of a call, or a piece of a longer one, may stand unread before it is given up.",
  ),
  unreadAnswerBytes: integer(
    "UNREAD_ANSWER_BYTES",
    256 * 1024 * 1024,
    [4 * 1024 * 1024, 1024 ** 4],
    "The most memory that answers may hold that their readers have not taken, per replica.",
  ),
  unreadAnswerBytesPerCaller: integer(
    "UNREAD_ANSWER_BYTES_PER_CALLER",
    32 * 1024 * 1024,
    [4 * 1024 * 1024, 1024 ** 4],
    "The same of one device, token or, without a credential, address.",
  ),
  maxConnections: integer(
    "MAX_CONNECTIONS",
    50_000,
    [10, 1_000_000],
    "The most connections to each port, per replica.",
  ),
  descriptorsPercent: integer(
    "DESCRIPTORS_PERCENT",
    90,
    [10, 99],
    "When so many of the files and connections that the process may have open are in use, in percent, the gRPC port takes no more connections; the HTTP port when half of the rest are.",
  ),
  unauthenticatedConnections: integer(
    "UNAUTHENTICATED_CONNECTIONS_PER_ADDRESS",
    2_048,
    [10, 1_000_000],
    "The most connections of one address (IPv6: /64) over which no call has been let in yet; two more a second after that. The trusted proxies have no such limit.",
  ),
  authenticationSeconds: integer(
    "AUTHENTICATION_SECONDS",
    20,
    [1, 3_600],
    "How long a connection may stay open without a call that is let in.",
  ),
  pingSeconds: integer(
    "PING_SECONDS",
    10,
    [1, 3_600],
    "How often a client may ping its gRPC connection, beside 16 pings at once; whoever pings more often is cut off with `too_many_pings`.",
  ),
};

/** Their values. */
export type LimitValues = ValuesOf<typeof limitSettings>;

/** The limits as those who hold them take them. */
export function limitsOf(values: LimitValues, trustedProxies: BlockList) {
  const heartbeatBytes = values.rateHeartbeatBytes;
  return {
    /** By class of call; undefined: no limit. */
    rateLimits: {
      enrol: values.rateEnrol,
      heartbeat: values.rateHeartbeat,
      update_check: values.rateUpdateCheck,
      download: values.rateDownload,
      device: values.rateApi,
      device_read: values.rateDeviceRead,
      operator: values.rateApi,
      sign_in: values.rateSignIn,
      credential: values.rateCredential,
      refusal: values.rateRefusal,
      probe: values.rateProbe,
      page: values.ratePage,
    },
    /** How often replicas exchange what they counted; 0: never. */
    rateShareMs: values.rateShareMs,
    /** Of each device; undefined: no limit. */
    heartbeatBytes: heartbeatBytes && { bytes: heartbeatBytes.calls, periodMs: heartbeatBytes.periodMs },
    /** Of each device; undefined: no limit. */
    crashLogs: values.rateCrashLog && {
      logs: values.rateCrashLog.calls,
      periodMs: values.rateCrashLog.periodMs,
    },
    /** How many calls may be open at once, by kind. */
    places: {
      heartbeats: { most: values.maxStreams, perCaller: values.maxStreamsPerDevice },
      update_checks: {
        most: values.maxWaitingChecks,
        // A newer one ends the older.
        perCaller: 1,
        perAddress: values.maxWaitingChecksPerAddress,
      },
      downloads: { most: values.maxDownloads, perCaller: values.maxDownloadsPerDevice },
      crash_logs: { most: values.maxCrashLogs, perCaller: values.maxCrashLogsPerDevice },
      operators: {
        most: values.maxOperatorStreams,
        perCaller: values.maxStreamsPerToken,
        perAddress: values.maxOperatorStreamsPerAddress,
      },
      anonymous: { most: values.maxAnonymousStreams, perCaller: values.maxAnonymousStreamsPerAddress },
    },
    /** The longest that an update check waits. */
    updateCheckWaitMs: values.updateCheckWaitSeconds * 1_000,
    pendingRequests: {
      timeoutMs: values.requestTimeoutSeconds * 1_000,
      bytes: values.pendingRequestBytes,
      bytesPerCaller: values.pendingRequestBytesPerCaller,
    },
    unreadAnswers: {
      timeoutMs: values.answerTimeoutSeconds * 1_000,
      bytes: values.unreadAnswerBytes,
      bytesPerCaller: values.unreadAnswerBytesPerCaller,
    },
    connections: {
      most: values.maxConnections,
      unauthenticatedPerAddress: values.unauthenticatedConnections,
      authenticationMs: values.authenticationSeconds * 1_000,
      unlimited: trustedProxies,
    },
    descriptorsPercent: values.descriptorsPercent,
    /** How often a client may ping its gRPC connection. */
    pingMs: values.pingSeconds * 1_000,
  };
}

import { Code, ConnectError } from "@connectrpc/connect";
import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { BadRequestSchema, ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { CopyText } from "./copy-text.tsx";

/** What a failure says to a person. */
export interface FailureText {
  readonly message: string;
  /** To find the call in the service's log; undefined if the call never got there. */
  readonly requestId: string | undefined;
  /** The machine-readable reason, such as `ILLEGAL_TRANSITION`. */
  readonly reason: string | undefined;
  /** What is wrong with which field of the request. */
  readonly fields: readonly { readonly field: string; readonly description: string }[];
}

/** Tells a failed call in words. */
export function failureText(thrown: unknown): FailureText {
  const error = ConnectError.from(thrown);
  const [info] = error.findDetails(ErrorInfoSchema);
  const requestId = error.metadata.get("x-request-id") ?? info?.metadata["requestId"] ?? undefined;
  return {
    message: sentence(info === undefined ? withoutDetails(error) : error.rawMessage),
    requestId,
    reason: info?.reason,
    fields: error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations),
  };
}

/** Whether an error is the answer (or the missing answer) to a call. */
export function isConnectError(thrown: unknown): thrown is ConnectError {
  return thrown instanceof ConnectError;
}

interface FailureProps {
  readonly error: unknown;
  /** What was tried, after "Could not". */
  readonly doing: string;
  readonly retry?: () => unknown;
}

/** A failure where its result would have been, with the request id and a way to try again. */
export function Failure({ error, doing, retry }: FailureProps) {
  const { message, requestId, fields } = failureText(error);
  return (
    <Alert
      color="red"
      variant="outline"
      icon={<IconAlertTriangle aria-hidden />}
      title={`Could not ${doing}`}
      role="alert"
    >
      <Text size="sm">{message}</Text>
      {fields.map(({ field, description }) => (
        <Text size="sm" key={field}>
          <b>{field}</b>: {description}
        </Text>
      ))}
      <Group gap="md" mt="xs">
        {retry !== undefined && (
          <Button size="compact-sm" variant="default" onClick={() => void retry()}>
            Try again
          </Button>
        )}
        {requestId !== undefined && (
          <Text size="xs" c="dimmed" component="div">
            Request <CopyText text={requestId} />
          </Text>
        )}
      </Group>
    </Alert>
  );
}

function withoutDetails(error: ConnectError): string {
  if (error.code === Code.Unknown || error.code === Code.Unavailable) {
    return "the service did not answer; it may be restarting, or the connection is broken";
  }
  return error.rawMessage;
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

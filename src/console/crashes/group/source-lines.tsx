import { useQuery } from "@connectrpc/connect-query";
import { Button, Code, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { type ErrorGroup, StackKind } from "../../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../../gen/ota/v1/error_service_pb.js";
import { Failure } from "../../ui/failure.tsx";
import { Link } from "../../ui/link.tsx";
import { Section } from "../../ui/section.tsx";

/** The source lines of the raw addresses in a group's newest stack, looked up when asked: it costs the service a process. */
export function SourceLines({ group }: { readonly group: ErrorGroup }) {
  const [asked, setAsked] = useState(false);
  const { data, error, isFetching, refetch } = useQuery(
    ErrorService.method.getSourceLines,
    { id: group.id },
    { enabled: asked, staleTime: Number.POSITIVE_INFINITY },
  );
  if (!mayHaveAddresses.has(group.stackKind)) return null;
  return (
    <Section
      title="Source lines"
      description="Of the raw addresses in its newest stack, by the symbol file of its build"
      actions={
        data === undefined && (
          <Button size="xs" variant="default" loading={isFetching} onClick={() => setAsked(true)}>
            Look up
          </Button>
        )
      }
    >
      <Stack gap="xs" role="status">
        {error !== null && <Failure error={error} doing="look up its lines" retry={refetch} />}
        {data !== undefined && data.missing !== "" && (
          <>
            <Text size="sm">None: {data.missing}.</Text>
            <Text size="sm" component="div">
              <Link to="/crashes/symbols">Symbol files</Link>
            </Text>
          </>
        )}
        {data !== undefined && data.missing === "" && (
          <Code block tabIndex={0} aria-label="Source lines" style={{ overflow: "auto" }}>
            {data.lines
              .map(
                ({ address, function: name, file, line }) =>
                  `${address}  ${name || "?"}${file === "" ? "" : `  ${file}:${line}`}`,
              )
              .join("\n")}
          </Code>
        )}
      </Stack>
    </Section>
  );
}

const mayHaveAddresses = new Set([StackKind.NATIVE, StackKind.MICROCONTROLLER]);

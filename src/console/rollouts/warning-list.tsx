import { Alert, List, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { RolloutWarning } from "../../../gen/ota/v1/rollout_warning_pb.js";
import { readableTitle } from "../ui/readable-title.ts";
import { RemedyLink } from "../words/remedy-link.tsx";

/** What to know before a rollout starts, with what mends it. Nothing of it keeps anybody from starting it. */
export function WarningList({ warnings }: { readonly warnings: readonly RolloutWarning[] }) {
  if (warnings.length === 0) return null;
  return (
    <Alert
      styles={readableTitle}
      color="yellow"
      variant="outline"
      icon={<IconAlertTriangle aria-hidden />}
      title="To know before the start"
    >
      <List size="sm" spacing={4}>
        {warnings.map(({ code, subject, message, remedies }) => (
          <List.Item key={`${code} ${subject}`}>
            {message}
            {remedies.map((remedy) => (
              <Text key={remedy.message} size="xs" component="div">
                <RemedyLink remedy={remedy} />
              </Text>
            ))}
          </List.Item>
        ))}
      </List>
    </Alert>
  );
}

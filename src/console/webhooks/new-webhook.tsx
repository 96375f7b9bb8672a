import { useMutation } from "@connectrpc/connect-query";
import { Button, Group, Select, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { WebhookFormat } from "../../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { newRequestId } from "../data/request-id.ts";
import { Failure } from "../ui/failure.tsx";
import { useReloadWebhooks } from "./use-reload-webhooks.ts";

/** Makes a webhook, and tells its secret; empty for an e-mail, which has none. */
export function NewWebhook({ made }: { readonly made: (secret: string) => void }) {
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [format, setFormat] = useState(String(WebhookFormat.UNSPECIFIED));
  const [eventTypes, setEventTypes] = useState<string[]>(["alert.*"]);
  const [requestId, setRequestId] = useState(newRequestId);
  const reload = useReloadWebhooks();
  const create = useMutation(WebhookService.method.createWebhook);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      const answer = await create.mutateAsync({
        requestId,
        name: name.trim(),
        url: url.trim(),
        format: Number(format) as WebhookFormat,
        eventTypes,
      });
      await reload();
      made(answer.secret);
    } catch {
      // What is sent next is another request; the failure is shown below.
      setRequestId(newRequestId());
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <Stack>
        <TextInput
          label="Name"
          description="For people; no two have the same."
          maxLength={64}
          required
          data-autofocus
          value={name}
          onChange={({ currentTarget }) => setName(currentTarget.value)}
        />
        <TextInput
          label="To"
          description="Where to post to, https://…, or whom to mail, mailto:on-call@example.com"
          maxLength={2_000}
          required
          value={url}
          onChange={({ currentTarget }) => setUrl(currentTarget.value)}
        />
        <Select
          label="Form"
          allowDeselect={false}
          value={format}
          onChange={(value) => setFormat(value ?? String(WebhookFormat.UNSPECIFIED))}
          data={[
            { value: String(WebhookFormat.UNSPECIFIED), label: "CloudEvents, or an e-mail for mailto:" },
            { value: String(WebhookFormat.SLACK), label: "As Slack's incoming webhooks take it" },
          ]}
        />
        <TagsInput
          label="Events"
          description="Types, or beginnings with a star. None: all events."
          data={suggestions}
          maxTags={50}
          acceptValueOnBlur
          value={eventTypes}
          onChange={setEventTypes}
        />
        <Text size="xs" c="dimmed">
          It is told of what happens from now on.
        </Text>
        {create.error !== null && <Failure error={create.error} doing="make the webhook" />}
        <Group justify="flex-end">
          <Button type="submit" loading={create.isPending} disabled={name.trim() === "" || url.trim() === ""}>
            Make the webhook
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Kinds of events that people want; any other can be typed. */
const suggestions = [
  "alert.*",
  "alert.firing",
  "alert.resolved",
  "rollout.*",
  "firmware.*",
  "device.*",
  "error_group.*",
];

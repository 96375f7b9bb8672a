import { useMutation } from "@connectrpc/connect-query";
import { Button, Menu, TextInput } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { type Webhook, WebhookFormat } from "../../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { Confirm } from "../ui/confirm.tsx";
import { Failure } from "../ui/failure.tsx";
import { MoreMenu } from "../ui/more-menu.tsx";
import { SecretModal } from "../ui/secret-modal.tsx";
import { useReloadWebhooks } from "./use-reload-webhooks.ts";
import { secretWords } from "./webhook-words.ts";

/** What an administrator can do to a webhook. */
export function WebhookActions({ webhook }: { readonly webhook: Webhook }) {
  const { id, name, disabled, format } = webhook;
  const reload = useReloadWebhooks();
  const navigate = useNavigate();
  const [asking, setAsking] = useState<"url" | "secret" | "delete" | undefined>();
  const [url, setUrl] = useState("");
  const [secret, setSecret] = useState<string | undefined>();
  const test = useMutation(WebhookService.method.testWebhook);
  const update = useMutation(WebhookService.method.updateWebhook);
  const remove = useMutation(WebhookService.method.deleteWebhook);
  const close = () => setAsking(undefined);
  /** Failures are shown beside the buttons. */
  const act = async (work: Promise<unknown>) => {
    await work.catch(() => undefined);
    await reload();
  };
  const isMail = format === WebhookFormat.EMAIL;
  return (
    <>
      <Button size="sm" loading={test.isPending} onClick={() => void act(test.mutateAsync({ id }))}>
        Send a test
      </Button>
      <Button
        size="sm"
        variant="default"
        loading={asking === undefined && update.isPending}
        onClick={() => void act(update.mutateAsync({ id, disabled: !disabled }))}
      >
        {disabled ? "Go on" : "Pause"}
      </Button>
      <MoreMenu>
        <Menu.Item
          onClick={() => {
            setUrl("");
            setAsking("url");
          }}
        >
          Send it elsewhere…
        </Menu.Item>
        {!isMail && <Menu.Item onClick={() => setAsking("secret")}>Make another secret…</Menu.Item>}
        <Menu.Item onClick={() => setAsking("delete")}>Delete it…</Menu.Item>
      </MoreMenu>
      {test.error !== null && <Failure error={test.error} doing="send a test" />}
      {asking === undefined && update.error !== null && (
        <Failure error={update.error} doing="change the webhook" />
      )}
      <Confirm
        opened={asking === "url"}
        title={`Send ${name} elsewhere?`}
        consequences={["What waits goes there, too.", "Its secret stays as it is."]}
        complete={url.trim() !== ""}
        confirm="Send it there"
        doing="change where it is sent"
        act={async () => {
          await update.mutateAsync({ id, url: url.trim() });
          await reload();
        }}
        close={close}
      >
        <TextInput
          label="To"
          description={isMail ? "mailto: and one address" : "https://…"}
          maxLength={2_000}
          data-autofocus
          value={url}
          onChange={({ currentTarget }) => setUrl(currentTarget.value)}
        />
      </Confirm>
      <Confirm
        opened={asking === "secret"}
        title={`Another secret for ${name}?`}
        consequences={[
          "The one that there is signs nothing any more, at once.",
          "The new one is shown once.",
        ]}
        confirm="Make another secret"
        doing="make another secret"
        act={async () => {
          const answer = await update.mutateAsync({ id, rotateSecret: true });
          await reload();
          setSecret(answer.secret);
        }}
        close={close}
      />
      <Confirm
        opened={asking === "delete"}
        title={`Delete ${name}?`}
        consequences={["It is told of nothing any more.", "Its deliveries go with it, also those that wait."]}
        typed={name}
        confirm="Delete it"
        doing="delete the webhook"
        act={async () => {
          await remove.mutateAsync({ id });
          await navigate({ to: "/alerts/webhooks" });
          await reload();
        }}
        close={close}
      />
      <SecretModal
        secret={secret}
        title={secretWords.title}
        hint={secretWords.hint}
        close={() => setSecret(undefined)}
      />
    </>
  );
}

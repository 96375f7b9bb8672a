import { Alert, Button, Code, CopyButton, Group, Modal, Stack, Text } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";
import { readableTitle } from "./readable-title.ts";

interface SecretModalProps {
  /** Undefined: nothing to show. */
  readonly secret: string | undefined;
  readonly title: string;
  /** What to do with it. */
  readonly hint: string;
  readonly close: () => void;
}

/** Shows a secret that the service does not show again: once, until the reader says that they have it. */
export function SecretModal({ secret, title, hint, close }: SecretModalProps) {
  return (
    <Modal
      opened={secret !== undefined}
      onClose={close}
      title={title}
      centered
      closeOnClickOutside={false}
      closeOnEscape={false}
      withCloseButton={false}
    >
      <Stack>
        <Alert
          styles={readableTitle}
          variant="outline"
          color="orange"
          icon={<IconKey aria-hidden />}
          title="It is shown only now"
        >
          <Text size="sm">The service never shows it again. {hint}</Text>
        </Alert>
        <Code block style={{ overflowWrap: "anywhere", whiteSpace: "pre-wrap" }}>
          {secret}
        </Code>
        <Group justify="flex-end">
          <CopyButton value={secret ?? ""}>
            {({ copied, copy }) => (
              <Button variant="default" onClick={copy}>
                {copied ? "Copied" : "Copy it"}
              </Button>
            )}
          </CopyButton>
          <Button onClick={close}>I have it</Button>
        </Group>
      </Stack>
    </Modal>
  );
}

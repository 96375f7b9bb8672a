import { Alert, Button, Code, CopyButton, Group, Modal, Stack, Text } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";

interface SecretModalProps {
  /** Undefined: nothing to show. */
  readonly secret: string | undefined;
  readonly title: string;
  /** What to do with it. */
  readonly hint: string;
  readonly close: () => void;
}

/** Shows a secret that the service keeps only a hash of: once, until the reader says that they have it. */
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
        <Alert variant="outline" color="orange" icon={<IconKey aria-hidden />} title="It is shown only now">
          <Text size="sm">The service keeps a hash of it and can never show it again. {hint}</Text>
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

import { Button, Group, List, Modal, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { Failure } from "./failure.tsx";

interface ConfirmProps {
  readonly opened: boolean;
  /** A question. */
  readonly title: string;
  /** What will happen, one sentence each. */
  readonly consequences: readonly string[];
  /** What must be typed first; undefined for what can be undone. */
  readonly typed?: string;
  /** Whether all that is asked below was answered; it is, unless this says otherwise. */
  readonly complete?: boolean;
  /** The button's words: the act, not "OK". */
  readonly confirm: string;
  /** The act after "Could not". */
  readonly doing: string;
  /** Whether a reason for the audit log is asked for. */
  readonly withReason?: boolean;
  /** Whether it takes something away. */
  readonly danger?: boolean;
  /** What else is asked, below the consequences. */
  readonly children?: ReactNode;
  readonly act: (reason: string) => Promise<void>;
  readonly close: () => void;
}

/** Asks before an act: says what will happen, and for what cannot be undone wants its name typed. */
export function Confirm(props: ConfirmProps) {
  const { opened, title, close } = props;
  return (
    <Modal opened={opened} onClose={close} title={title} centered>
      {opened && <ConfirmForm {...props} />}
    </Modal>
  );
}

function ConfirmForm({
  consequences,
  typed,
  complete = true,
  confirm,
  doing,
  withReason,
  danger,
  children,
  act,
  close,
}: ConfirmProps) {
  const [text, setText] = useState("");
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<unknown>();
  const ready = complete && (typed === undefined || text.trim() === typed);
  const submit = async () => {
    setBusy(true);
    setFailure(undefined);
    try {
      await act(reason.trim());
      close();
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) void submit();
      }}
    >
      <Stack gap="md">
        <List size="sm" spacing={4}>
          {consequences.map((consequence) => (
            <List.Item key={consequence}>{consequence}</List.Item>
          ))}
        </List>
        {children}
        {withReason === true && (
          <Textarea
            label="Reason"
            description="For the audit log, where everybody can read it."
            maxLength={500}
            autosize
            minRows={2}
            value={reason}
            onChange={({ currentTarget }) => setReason(currentTarget.value)}
          />
        )}
        {typed !== undefined && (
          <TextInput
            label={
              <Text span inherit>
                Type <b>{typed}</b> to confirm
              </Text>
            }
            autoComplete="off"
            data-autofocus
            value={text}
            onChange={({ currentTarget }) => setText(currentTarget.value)}
          />
        )}
        {failure !== undefined && <Failure error={failure} doing={doing} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button
            type="submit"
            color={typed !== undefined || danger === true ? "red.8" : "indigo"}
            loading={busy}
            disabled={!ready}
          >
            {confirm}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

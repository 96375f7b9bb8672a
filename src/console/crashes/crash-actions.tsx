import { useMutation } from "@connectrpc/connect-query";
import { Button, Modal, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { type ErrorGroup, ErrorGroupState } from "../../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { useReloadErrors } from "./use-reload-errors.ts";

/** What an operator can do about an error group. Each can be undone by another. */
export function CrashActions({ group }: { readonly group: ErrorGroup }) {
  const { can } = useSession();
  const [verb, setVerb] = useState<Verb | undefined>();
  if (!can(ErrorService.method.updateErrorGroup)) return null;
  const offered = verbs.filter(({ state }) => state !== group.state);
  return (
    <>
      {offered.map((each) => (
        <Button
          key={each.name}
          variant={each.state === ErrorGroupState.RESOLVED ? "filled" : "default"}
          size="sm"
          onClick={() => setVerb(each)}
        >
          {each.name}
        </Button>
      ))}
      <Modal opened={verb !== undefined} onClose={() => setVerb(undefined)} title={verb?.title} centered>
        {verb !== undefined && <VerbForm group={group} verb={verb} done={() => setVerb(undefined)} />}
      </Modal>
    </>
  );
}

interface Verb {
  readonly state: ErrorGroupState;
  readonly name: string;
  readonly title: string;
  readonly consequence: string;
}

const verbs: readonly Verb[] = [
  {
    state: ErrorGroupState.RESOLVED,
    name: "Resolve",
    title: "Resolve this error?",
    consequence:
      "It leaves the list of open ones. If a version above the one below shows it, it is reopened by itself.",
  },
  {
    state: ErrorGroupState.IGNORED,
    name: "Ignore",
    title: "Ignore this error?",
    consequence: "It is counted on, and never reopened by itself.",
  },
  {
    state: ErrorGroupState.OPEN,
    name: "Reopen",
    title: "Reopen this error?",
    consequence: "It comes back to the list of open ones.",
  },
];

interface VerbFormProps {
  readonly group: ErrorGroup;
  readonly verb: Verb;
  readonly done: () => void;
}

function VerbForm({ group, verb, done }: VerbFormProps) {
  const [version, setVersion] = useState(group.lastSeenVersion);
  const [reason, setReason] = useState("");
  const reload = useReloadErrors();
  const update = useMutation(ErrorService.method.updateErrorGroup);
  const isResolving = verb.state === ErrorGroupState.RESOLVED;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    await update.mutateAsync({
      id: group.id,
      state: verb.state,
      reason: reason.trim(),
      resolvedVersion: isResolving ? version.trim() : "",
    });
    await reload();
    done();
  };
  return (
    <form onSubmit={(event) => void submit(event).catch(() => undefined)}>
      <Stack>
        <Text size="sm">{verb.consequence}</Text>
        {isResolving && (
          <TextInput
            label="The highest version that still has it"
            value={version}
            onChange={({ currentTarget }) => setVersion(currentTarget.value)}
          />
        )}
        <Textarea
          label="Reason"
          description="For the audit log, where everybody can read it."
          maxLength={500}
          autosize
          minRows={2}
          data-autofocus
          value={reason}
          onChange={({ currentTarget }) => setReason(currentTarget.value)}
        />
        {update.error !== null && <Failure error={update.error} doing={`${verb.name.toLowerCase()} it`} />}
        <Button type="submit" loading={update.isPending} ml="auto">
          {verb.name}
        </Button>
      </Stack>
    </form>
  );
}

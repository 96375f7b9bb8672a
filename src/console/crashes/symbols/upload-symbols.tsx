import { Button, FileButton, Group, Stack, Text } from "@mantine/core";
import { IconUpload } from "@tabler/icons-react";
import { useState } from "react";
import { callHttp } from "../../data/call-http.ts";
import { Failure } from "../../ui/failure.tsx";
import { bytes } from "../../ui/format.ts";
import { Section } from "../../ui/section.tsx";
import { useReloadErrors } from "../use-reload-errors.ts";

/** Uploads a symbol file. By plain HTTP, as browsers cannot send a stream of messages. */
export function UploadSymbols() {
  const [sending, setSending] = useState<File | undefined>();
  const [sent, setSent] = useState<string | undefined>();
  const [failure, setFailure] = useState<unknown>();
  const reload = useReloadErrors();
  const upload = async (file: File) => {
    setSending(file);
    setSent(undefined);
    setFailure(undefined);
    try {
      const query = new URLSearchParams({ fileName: file.name.slice(0, mostNameLength) });
      await callHttp(`/api/v1/symbolFiles?${query}`, { method: "POST", body: file });
      setSent(file.name);
      await reload();
    } catch (error) {
      setFailure(error);
    }
    setSending(undefined);
  };
  return (
    <Section
      title="Upload"
      description="The ELF file of a build from before strip: at most 512 MiB, of which at most 64 MiB symbols. The same file again is the one that is there."
    >
      <Stack gap="sm">
        <Group gap="sm">
          <FileButton onChange={(file) => file !== null && void upload(file)}>
            {(props) => (
              <Button
                size="sm"
                leftSection={<IconUpload size={16} aria-hidden />}
                loading={sending !== undefined}
                {...props}
              >
                Upload symbols
              </Button>
            )}
          </FileButton>
          <Text size="sm" role="status">
            {sending !== undefined && `Uploading ${sending.name}, ${bytes(sending.size)}…`}
            {sending === undefined && sent !== undefined && `${sent} is here.`}
          </Text>
        </Group>
        {failure !== undefined && <Failure error={failure} doing="upload the symbols" />}
      </Stack>
    </Section>
  );
}

/** What the service keeps of a name. */
const mostNameLength = 200;

import { Group, Progress, Text } from "@mantine/core";
import { Dropzone } from "@mantine/dropzone";
import { IconFileCheck, IconFileUpload } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";
import { bytes } from "../ui/format.ts";
import { hashFile } from "./hash-file.ts";
import "@mantine/dropzone/styles.css";

/** A file whose digest is known. */
export interface HashedFile {
  readonly file: File;
  readonly sha256: string;
}

interface FileFieldProps {
  readonly value: HashedFile | undefined;
  readonly onChange: (value: HashedFile | undefined) => void;
}

/** Takes a file by drag and drop or by dialog, and computes its SHA-256 before anything leaves the browser. */
export function FileField({ value, onChange }: FileFieldProps) {
  const [hashing, setHashing] = useState<{ file: File; done: number } | undefined>();
  const [failure, setFailure] = useState<string | undefined>();
  const controller = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => controller.current?.abort(), []);

  const take = async (file: File) => {
    controller.current?.abort();
    const { signal } = (controller.current = new AbortController());
    onChange(undefined);
    setFailure(undefined);
    setHashing({ file, done: 0 });
    try {
      const sha256 = await hashFile(file, signal, (done) => setHashing({ file, done }));
      onChange({ file, sha256 });
    } catch (error) {
      if (signal.aborted) return;
      setFailure(error instanceof Error ? error.message : String(error));
    }
    setHashing(undefined);
  };

  return (
    <div>
      <Dropzone
        multiple={false}
        maxSize={maxFileBytes}
        onDrop={([file]) => {
          if (file !== undefined) void take(file);
        }}
        onReject={() => setFailure("It must be one file of at most 16 GiB.")}
        inputProps={{ "aria-label": "The file to upload" }}
        p="lg"
      >
        <Group gap="md" wrap="nowrap" style={{ pointerEvents: "none" }}>
          {value === undefined ? (
            <IconFileUpload size={32} stroke={1.4} aria-hidden />
          ) : (
            <IconFileCheck size={32} stroke={1.4} aria-hidden />
          )}
          <FileText value={value} hashing={hashing?.file} />
        </Group>
      </Dropzone>
      {hashing !== undefined && (
        <Progress
          mt="xs"
          value={(100 * hashing.done) / Math.max(hashing.file.size, 1)}
          aria-label="Checksum computed"
        />
      )}
      {failure !== undefined && (
        <Text c="var(--mantine-color-error)" size="sm" mt="xs" role="alert">
          {failure}
        </Text>
      )}
    </div>
  );
}

/** What the contract allows. */
const maxFileBytes = 16 * 1024 ** 3;

function FileText({
  value,
  hashing,
}: {
  readonly value: HashedFile | undefined;
  readonly hashing: File | undefined;
}) {
  if (hashing !== undefined) return <Text size="sm">Computing the SHA-256 of {hashing.name}…</Text>;
  if (value === undefined) {
    return (
      <div>
        <Text size="sm" fw={500}>
          Drop the firmware file here, or press Enter to choose it
        </Text>
        <Text size="xs" c="dimmed">
          Its SHA-256 is computed in this browser, and checked by the service when everything has arrived.
        </Text>
      </div>
    );
  }
  return (
    <div style={{ minWidth: 0 }}>
      <Text size="sm" fw={500}>
        {value.file.name} · {bytes(value.file.size)}
      </Text>
      <Text size="xs" c="dimmed" ff="monospace" style={{ overflowWrap: "anywhere" }}>
        sha256 {value.sha256}
      </Text>
    </div>
  );
}

import { Button, Stack } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { fetchFile } from "../data/save-file.ts";
import { Failure } from "./failure.tsx";

interface SaveButtonProps {
  /** What is fetched. */
  readonly path: string;
  /** The file's name. */
  readonly name: string;
  readonly children: ReactNode;
}

/** Fetches a file of the service and saves it; says what went wrong. */
export function SaveButton({ path, name, children }: SaveButtonProps) {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<unknown>();
  const save = async () => {
    setBusy(true);
    setFailure(undefined);
    try {
      await fetchFile(path, name);
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
  };
  return (
    <Stack gap="xs" align="flex-start">
      <Button
        size="xs"
        variant="default"
        leftSection={<IconDownload size={14} aria-hidden />}
        loading={isBusy}
        onClick={() => void save()}
      >
        {children}
      </Button>
      {failure !== undefined && <Failure error={failure} doing="fetch the file" />}
    </Stack>
  );
}

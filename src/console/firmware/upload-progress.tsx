import { Button, Group, Progress, Text } from "@mantine/core";
import { Failure } from "../ui/failure.tsx";
import { bytes, duration } from "../ui/format.ts";
import { type Upload, useUpload, useUploads } from "./uploads.tsx";

/** How an upload of this tab goes, with a way to stop it. */
export function UploadProgress({ firmwareId }: { readonly firmwareId: string }) {
  const uploads = useUploads();
  const upload = useUpload(firmwareId);
  if (upload === undefined) return null;
  const { state, committed, size, error } = upload;
  if (state === "failed") {
    return <Failure error={error} doing="upload the content" retry={() => uploads.cancel(firmwareId)} />;
  }
  const done = (100 * committed) / size;
  return (
    <div>
      <Group justify="space-between" mb={6}>
        <Text size="sm" className="numbers" role="status">
          {words(upload)}
        </Text>
        {state !== "finished" && (
          <Button size="compact-sm" variant="default" onClick={() => uploads.cancel(firmwareId)}>
            Stop the upload
          </Button>
        )}
      </Group>
      <Progress
        value={done}
        size="lg"
        animated={state === "uploading"}
        color={state === "waiting" ? "orange" : "indigo"}
        aria-label="Uploaded"
      />
    </div>
  );
}

function words({ state, committed, size, began }: Upload): string {
  const far = `${bytes(committed)} of ${bytes(size)}`;
  if (state === "finished") return `${bytes(size)} uploaded and verified`;
  if (state === "waiting") return `${far} · the connection broke; going on as soon as it is back`;
  const elapsedMs = performance.now() - began.atMs;
  const perSecond = ((committed - began.committed) * 1_000) / elapsedMs;
  if (elapsedMs < 1_000 || perSecond <= 0) return far;
  return `${far} · ${bytes(perSecond)}/s · ${duration((size - committed) / perSecond)} left`;
}

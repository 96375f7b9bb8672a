import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Status } from "../ui/status.tsx";
import { useNow } from "../ui/use-now.ts";

interface CredentialStatusProps {
  readonly expireTime?: Timestamp | undefined;
  readonly revokeTime: Timestamp | undefined;
}

/** Whether a credential works. */
export function CredentialStatus({ expireTime, revokeTime }: CredentialStatusProps) {
  const now = useNow(60_000);
  if (revokeTime !== undefined) return <Status tone="idle" text="Revoked" />;
  if (expireTime !== undefined && timestampDate(expireTime) <= now)
    return <Status tone="idle" text="Expired" />;
  return <Status tone="good" text="Works" />;
}

import { defaultProvider } from "@aws-sdk/credential-provider-node";
import type { ClientOptions } from "minio";
import { withTimeLimit } from "../time-limit.ts";

/** Gives the credentials that a request is signed with, and new ones before they end. */
export type CredentialSource = () => Promise<{
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}>;

/**
 * The credentials that the machine has by its role, as every program for Amazon's cloud finds them: the `AWS_…` variables, a web identity
 * (Kubernetes), profiles, the container's endpoint (ECS, EKS Pod Identity), the instance's metadata (IMDSv2). By Amazon's own library,
 * because the minio client's reads two of these by wrong names (`AccessKeyID`, and a `Code` that containers do not send).
 */
export function roleCredentials(): CredentialSource {
  return defaultProvider({ timeout: metadataTimeoutMs, maxRetries: 1 });
}

/** The metadata of a machine answers in milliseconds; where there is none, nobody does. */
const metadataTimeoutMs = 1_000;

type Provider = NonNullable<ClientOptions["credentialsProvider"]>;

/** Hands a {@link CredentialSource} to the minio client, which asks before each request and waits no longer than that. */
export function minioCredentials(source: CredentialSource, limitMs: number): Provider {
  const provider = {
    getCredentials: async () => {
      const { accessKeyId, secretAccessKey, sessionToken } = await withTimeLimit(source(), limitMs, tooLate);
      return {
        getAccessKey: () => accessKeyId,
        getSecretKey: () => secretAccessKey,
        getSessionToken: () => sessionToken,
      };
    },
  };
  // All that a client does with it; the classes that the type names are not exported.
  return provider as unknown as Provider;
}

function tooLate(): Error {
  return new Error("the machine's role gave no credentials in time");
}

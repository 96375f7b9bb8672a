import { Button, Card, Center, Code, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useState } from "react";
import { consoleHeaders } from "../data/transport.ts";
import { BrandMark } from "../ui/brand-mark.tsx";
import { IssuerSignIn } from "./issuer-sign-in.tsx";

/** Takes an operator's token and opens a session with it. */
export function SignInPage({ signedIn }: { readonly signedIn: () => Promise<void> }) {
  const [busy, setBusy] = useState(false);
  const form = useForm({
    initialValues: { token: "" },
    validate: { token: (value) => (value.trim() === "" ? "Paste a token" : null) },
  });
  const submit = async ({ token }: { token: string }) => {
    setBusy(true);
    const refusal = await signIn(token.trim());
    if (refusal === undefined) await signedIn();
    else form.setFieldError("token", refusal);
    setBusy(false);
  };
  return (
    <Center component="main" mih="100vh" p="md">
      <Card withBorder padding="xl" w="100%" maw={400}>
        <form onSubmit={form.onSubmit((values) => void submit(values))}>
          <Stack>
            <BrandMark size={36} />
            <div>
              <Title order={1} size="h3">
                Device OTA console
              </Title>
              <Text c="dimmed" size="sm" mt={4}>
                Sign in with your operator's token.
              </Text>
            </div>
            <IssuerSignIn />
            <PasswordInput
              label="Token"
              placeholder="ota_op_…"
              autoComplete="current-password"
              ref={focus}
              {...form.getInputProps("token")}
            />
            <Button type="submit" loading={busy} fullWidth>
              Sign in
            </Button>
            <Text c="dimmed" size="xs">
              The first administrator's token was printed once, when the service started for the first time.
              An administrator makes others under <b>Access</b> or with <Code>device-ota token create</Code>.
              The session ends after 12 hours, or when the token is revoked.
            </Text>
          </Stack>
        </form>
      </Card>
    </Center>
  );
}

/** The page has one field: who opens it wants to paste. */
function focus(field: HTMLInputElement | null): void {
  field?.focus();
}

/** Resolves with what is wrong, in words, or undefined when the session is open. */
async function signIn(token: string): Promise<string | undefined> {
  let response: Response;
  try {
    response = await fetch("/session", {
      method: "POST",
      headers: { ...consoleHeaders, "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
  } catch {
    return "The service cannot be reached. Check the connection and try again.";
  }
  if (response.ok) return undefined;
  if (response.status === 429) {
    return `Too many tries. Wait ${response.headers.get("retry-after") ?? "60"} s and try again.`;
  }
  const status = (await response.json().catch(() => undefined)) as { message?: string } | undefined;
  const requestId = response.headers.get("x-request-id");
  return `${status?.message ?? `The service answered ${response.status}`}${requestId === null ? "" : ` (request ${requestId})`}`;
}

import { Button, Modal } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { SecretModal } from "./secret-modal.tsx";

interface SecretMakerProps {
  /** What is made, as on the button: "New token". */
  readonly label: string;
  /** What the secret is called when it is shown: "The new token". */
  readonly secretTitle: string;
  /** What to do with the secret. */
  readonly hint: string;
  /** The form that makes it, and tells the secret when it is made; empty if it has none. */
  readonly form: (made: (secret: string) => void) => ReactNode;
}

/** A button that opens a form, and then shows the secret that the form made. */
export function SecretMaker({ label, secretTitle, hint, form }: SecretMakerProps) {
  const [making, setMaking] = useState(false);
  const [secret, setSecret] = useState<string | undefined>();
  const made = (value: string) => {
    setMaking(false);
    setSecret(value === "" ? undefined : value);
  };
  return (
    <>
      <Button size="xs" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => setMaking(true)}>
        {label}
      </Button>
      <Modal opened={making} onClose={() => setMaking(false)} title={label} centered>
        {making && form(made)}
      </Modal>
      <SecretModal secret={secret} title={secretTitle} hint={hint} close={() => setSecret(undefined)} />
    </>
  );
}

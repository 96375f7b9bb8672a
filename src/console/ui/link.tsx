import { Anchor, type AnchorProps, Button, type ButtonProps } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import type { ComponentPropsWithRef } from "react";

/** A link to a page of the console. */
export const Link = createLink((props: Omit<AnchorProps, "href"> & ComponentPropsWithRef<"a">) => (
  <Anchor inherit {...props} />
));

/** A link that looks like a button. */
export const LinkButton = createLink((props: Omit<ButtonProps, "href"> & ComponentPropsWithRef<"a">) => (
  <Button component="a" {...props} />
));

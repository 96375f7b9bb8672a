/** Styles of an alert whose own colour is too light to read on a light page: the title is text, the colour is the frame's. */
export const readableTitle = { title: { color: "var(--mantine-color-text)" } } as const;

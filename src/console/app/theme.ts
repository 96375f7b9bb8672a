import { createTheme, type MantineColorsTuple } from "@mantine/core";

/** How the console looks: dense, calm, system fonts; one accent. */
export const theme = createTheme({
  primaryColor: "indigo",
  primaryShade: { light: 8, dark: 7 },
  autoContrast: true,
  luminanceThreshold: 0.32,
  defaultRadius: "sm",
  cursorType: "pointer",
  respectReducedMotion: true,
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace",
  headings: { fontWeight: "600" },
  fontSizes: { xs: "0.75rem", sm: "0.8125rem", md: "0.875rem", lg: "1rem", xl: "1.125rem" },
  colors: { dark: ink() },
  components: { Modal: { defaultProps: { closeButtonProps: { "aria-label": "Close" } } } },
});

/** Greys of the dark scheme: neutral, with enough steps between surface, border and text for contrast AA. */
function ink(): MantineColorsTuple {
  return [
    "#d7dae0",
    "#b6bbc5",
    "#9aa1ae",
    "#6d7482",
    "#3a3f4a",
    "#2c3039",
    "#1f2229",
    "#17191d",
    "#121417",
    "#0d0e11",
  ];
}

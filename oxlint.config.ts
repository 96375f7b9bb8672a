import { defineConfig } from "oxlint";
import { wallOverrides } from "./scripts/wall-rules.ts";

export default defineConfig({
  plugins: ["typescript", "unicorn", "oxc", "import", "promise", "node", "vitest"],
  options: { typeAware: true, denyWarnings: true, reportUnusedDisableDirectives: "error" },
  env: { node: true, es2024: true },
  ignorePatterns: ["gen/**", "test/conformance/gen/**", "coverage/**", "dist/**", "node_modules/**"],
  categories: { correctness: "error" },
  rules: {
    "no-console": "error",
    eqeqeq: "error",
    "no-var": "error",
    "prefer-const": "error",
    "max-lines": ["error", { max: 400, skipBlankLines: true, skipComments: true }],
    "vitest/valid-expect": ["error", { maxArgs: 2 }],
    "vitest/valid-title": "off",
    "vitest/require-to-throw-message": "off",
    "vitest/no-disabled-tests": "off",
    "import/no-cycle": "error",
    "import/no-default-export": "error",
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    "typescript/consistent-type-imports": "error",
    "typescript/await-thenable": "error",
    "typescript/no-explicit-any": "error",
    "typescript/only-throw-error": "error",
    "typescript/return-await": ["error", "error-handling-correctness-only"],
  },
  overrides: [
    ...wallOverrides,
    { files: ["src/cli/**/*.ts", "bench/**/*.ts", "scripts/**/*.ts"], rules: { "no-console": "off" } },
    {
      files: ["**/*.test.ts", "test/**/*.ts"],
      rules: { "max-lines": ["error", { max: 600, skipBlankLines: true, skipComments: true }] },
    },
    {
      files: ["*.config.ts", "test/support/global-setup.ts"],
      rules: { "import/no-default-export": "off" },
    },
    {
      files: ["src/console/**/*.{ts,tsx}"],
      plugins: ["typescript", "unicorn", "oxc", "import", "promise", "react", "jsx-a11y", "vitest"],
      env: { browser: true, node: false, es2024: true },
      rules: {
        "react/rules-of-hooks": "error",
        "react/exhaustive-deps": "error",
        "react/jsx-key": "error",
        "react/no-danger": "error",
        "react/self-closing-comp": "error",
        "jsx-a11y/prefer-tag-over-role": "off",
      },
    },
  ],
});

import { Code, ConnectError } from "@connectrpc/connect";
import { TransportProvider } from "@connectrpc/connect-query";
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useState } from "react";
import { createTransport } from "../data/transport.ts";
import { UploadsProvider } from "../firmware/uploads.tsx";
import { SessionGate, sessionKey } from "../session/session.tsx";
import { styleNonce } from "../session/style-nonce.ts";
import { createAppRouter } from "./router.tsx";
import { theme } from "./theme.ts";

/** The whole console. */
export function App() {
  const [{ queries, transport, router }] = useState(() => {
    const client = createQueries();
    return {
      queries: client,
      transport: createTransport(() => void client.invalidateQueries({ queryKey: sessionKey })),
      router: createAppRouter(),
    };
  });
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={styleNonce}>
      <TransportProvider transport={transport}>
        <QueryClientProvider client={queries}>
          <SessionGate>
            <UploadsProvider>
              <RouterProvider router={router} />
            </UploadsProvider>
          </SessionGate>
        </QueryClientProvider>
      </TransportProvider>
    </MantineProvider>
  );
}

function createQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: staleMs,
        retry: (failures, error) => failures < maxRetries && isPassing(error),
      },
    },
  });
}

/** What was read within this time is shown again without a new call: moving to and fro costs nothing. */
const staleMs = 5_000;

const maxRetries = 3;

/** Whether a call may do better if it is made again. */
function isPassing(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  return code === Code.Unavailable || code === Code.Unknown || code === Code.DeadlineExceeded;
}

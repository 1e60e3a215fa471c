"""The harness runs trials: plan -> trials -> schedule -> train, decode, score -> store. It names no method and no task."""

"""make browser: a real Chromium at a real service, from an upload to a comparison."""

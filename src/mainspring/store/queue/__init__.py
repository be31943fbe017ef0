"""An execution's way: accepted, claimed under all limits, heard from, ended, and moved into history."""

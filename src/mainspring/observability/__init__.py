"""What a run leaves behind for people and machines that watch: log lines and trace spans."""

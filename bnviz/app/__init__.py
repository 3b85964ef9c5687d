"""What the pages share: the chosen run, controls, the live component. The one kernel room with Streamlit."""

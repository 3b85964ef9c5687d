"""What the pages share: the run on show, controls, the live component. The one kernel room with Streamlit."""

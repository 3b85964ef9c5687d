"""What the pages share: session state, controls, views, the live component. Imports Streamlit."""

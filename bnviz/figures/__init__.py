"""Arrays and frames in, plotly Figures out; nothing here knows a model or Streamlit."""

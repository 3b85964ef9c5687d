"""Arrays and frames in, plotly figures out; nothing here knows a model or Streamlit."""

"""`telemed capacity`: from consultations a day to replicas, pools and connections."""

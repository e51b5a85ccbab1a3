"""The stores, all with the interface of venti_store.interfaces."""
